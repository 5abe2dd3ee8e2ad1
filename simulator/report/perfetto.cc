#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "common/json/value.h"
#include "simulator/report/run_report.h"

namespace baton::simulator {
namespace {

// Processes of the trace: machines, and requests.
constexpr int kMachines = 1;
constexpr int kRequests = 2;

std::string Text(const std::string& text) {
  std::string out;
  json::AppendQuoted(out, text);
  return out;
}

/// Microseconds, to the nanosecond.
std::string Time(double seconds) {
  return fmt::format("{:.3f}", seconds * 1e6);
}

class Writer {
 public:
  template <typename... Args>
  void Event(fmt::format_string<Args...> format, Args&&... args) {
    out_ += first_ ? "\n" : ",\n";
    first_ = false;
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }
  std::string Done() { return "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[" + out_ + "\n]}\n"; }

 private:
  std::string out_;
  bool first_ = true;
};

void AddMachine(Writer& writer, std::size_t index, const MachineUse& machine) {
  writer.Event(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}}}})", kMachines,
               index, Text(machine.name));
  for (const TimelineSlice& slice : machine.timeline) {
    if (slice.prompts == 0 && slice.decodes == 0) continue;
    const std::string name = slice.prompts == 0 ? fmt::format("decode {}", slice.decodes)
                             : slice.decodes == 0
                                 ? fmt::format("prefill {} tokens", slice.prompt_tokens)
                                 : fmt::format("both {} tokens + {}", slice.prompt_tokens, slice.decodes);
    writer.Event(R"({{"ph":"X","name":{},"pid":{},"tid":{},"ts":{},"dur":{},)"
                 R"("args":{{"prompts":{},"prompt_tokens":{},"decodes":{},"watts":{:.1f}}}}})",
                 Text(name), kMachines, index, Time(slice.start_s), Time(slice.end_s - slice.start_s),
                 slice.prompts, slice.prompt_tokens, slice.decodes, slice.watts);
  }
  for (const TimelineSlice& slice : machine.timeline) {
    if (slice.watts <= 0) continue;
    writer.Event(R"({{"ph":"C","name":{},"pid":{},"ts":{},"args":{{"watts":{:.1f}}}}})",
                 Text("power " + machine.name), kMachines, Time(slice.start_s), slice.watts);
  }
}

void AddRequest(Writer& writer, const WorkloadRequest& request, const RequestOutcome& outcome,
                const std::vector<MachineUse>& machines) {
  const auto machine = [&](std::int32_t index) {
    return index >= 0 && static_cast<std::size_t>(index) < machines.size()
               ? machines[static_cast<std::size_t>(index)].name
               : std::string("none");
  };
  const auto span = [&](const std::string& name, double from, double to) {
    if (to <= from) return;
    writer.Event(R"({{"ph":"b","cat":"request","id":{},"name":{},"pid":{},"tid":0,"ts":{}}})", request.id,
                 Text(name), kRequests, Time(from));
    writer.Event(R"({{"ph":"e","cat":"request","id":{},"name":{},"pid":{},"tid":0,"ts":{}}})", request.id,
                 Text(name), kRequests, Time(to));
  };
  const double start = request.arrival_s;
  const double first = start + outcome.ttft_s;
  const double end = start + outcome.response_s;
  const double second = std::min(end, first + outcome.second_token_s);
  span(fmt::format("request {}: {} + {} tokens", request.id, request.prompt_tokens, request.output_tokens),
       start, end);
  span("queue", start, start + outcome.queue_s);
  span("prefill on " + machine(outcome.prefill_machine), start + outcome.queue_s, first);
  span("hand-off", first, second);
  span("decode on " + machine(outcome.decode_machine), second, end);
}

}  // namespace

std::string AsPerfetto(const Workload& workload, const RunResult& result, std::size_t requests_most) {
  Writer writer;
  writer.Event(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"machines"}}}})", kMachines);
  writer.Event(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"requests"}}}})", kRequests);
  for (std::size_t i = 0; i < result.machines.size(); ++i) AddMachine(writer, i, result.machines[i]);
  std::size_t shown = 0;
  for (const RequestOutcome& outcome : result.requests) {
    if (outcome.end != RequestEnd::kDone || shown++ >= requests_most) continue;
    AddRequest(writer, workload.requests[static_cast<std::size_t>(outcome.request)], outcome,
               result.machines);
  }
  return writer.Done();
}

}  // namespace baton::simulator
