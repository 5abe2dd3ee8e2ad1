#include "simulator/plan/figures.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "common/base/error.h"
#include "simulator/stats.h"

namespace baton::simulator {
namespace {

constexpr std::array kRoles{PoolRole::kPrefill, PoolRole::kDecode, PoolRole::kMixed};
constexpr int kMachinesMost = 100'000;

std::optional<double> AsNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

absl::StatusOr<PoolSpec> ParsePool(std::string_view part) {
  const auto wrong = [&](std::string_view what) {
    return Error(kInvalidArgument,
                 "fleet: '{}': {}; want such as prefill=25xdgx-h100 or decode=3xdgx-h100/4@350w", part, what);
  };
  const std::size_t equals = part.find('=');
  if (equals == std::string_view::npos) return wrong("no '='");
  PoolSpec pool;
  const auto* const role = std::find_if(
      kRoles.begin(), kRoles.end(), [&](PoolRole each) { return NameOf(each) == part.substr(0, equals); });
  if (role == kRoles.end()) return wrong("the role is none of prefill, decode, mixed");
  pool.role = *role;
  std::string_view rest = part.substr(equals + 1);
  const std::size_t times = rest.find('x');
  const auto count = AsNumber(rest.substr(0, times));
  if (times == std::string_view::npos || !count || *count < 1 || *count > kMachinesMost ||
      *count != std::floor(*count)) {
    return wrong("no whole number of machines before 'x'");
  }
  pool.machines = static_cast<int>(*count);
  rest.remove_prefix(times + 1);
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    std::string_view cap = rest.substr(at + 1);
    if (!cap.ends_with('w')) return wrong("a cap ends with 'w'");
    cap.remove_suffix(1);
    const auto watts = AsNumber(cap);
    if (!watts || *watts <= 0) return wrong("the cap is no number of watts");
    pool.gpu_cap_w = *watts;
    rest = rest.substr(0, at);
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const auto degree = AsNumber(rest.substr(slash + 1));
    if (!degree || *degree < 1 || *degree > 1024 || *degree != std::floor(*degree)) {
      return wrong("the tensor-parallel degree is no whole number");
    }
    pool.tensor_parallel = static_cast<int>(*degree);
    rest = rest.substr(0, slash);
  }
  if (rest.empty()) return wrong("no machine");
  pool.machine = std::string(rest);
  return pool;
}

double Share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

struct Sums {
  std::array<double, 3> latency{};
  double queue = 0;
  double transfer = 0;
  double second = 0;
  double reused = 0;
  double prompt = 0;
  double with_tbt = 0;
};

void AddRequest(const WorkloadRequest& request, const RequestOutcome& outcome, Figures& figures, Sums& sums) {
  ++figures.requests;
  figures.preemptions += outcome.preemptions;
  figures.migrations += outcome.migrations;
  figures.restarts += outcome.restarts;
  sums.prompt += static_cast<double>(request.prompt_tokens);
  sums.reused += static_cast<double>(outcome.reused_tokens);
  switch (outcome.end) {
    case RequestEnd::kDone:
      break;
    case RequestEnd::kRefused:
      ++figures.refused;
      return;
    case RequestEnd::kFailed:
      ++figures.failed;
      return;
    case RequestEnd::kUnfinished:
      ++figures.unfinished;
      return;
  }
  ++figures.done;
  sums.latency[0] += outcome.ttft_s;
  if (request.output_tokens > 1) {
    sums.latency[1] += outcome.tbt_s;
    ++sums.with_tbt;
  }
  sums.latency[2] += outcome.response_s;
  sums.queue += outcome.queue_s;
  sums.transfer += outcome.transfer_s;
  sums.second += outcome.second_token_s;
}

void AddMachines(const RunResult& result, Figures& figures) {
  double busy = 0;
  double output = 0;
  double powered = 0;
  double dollars = 0;
  const FleetPrice& price = figures.price;
  std::vector<double> instances;
  for (const MachineUse& machine : result.machines) {
    const auto pool = static_cast<std::size_t>(machine.pool);
    instances.resize(std::max(instances.size(), pool + 1), 0);
    ++instances[pool];
  }
  for (const MachineUse& machine : result.machines) {
    const auto pool = static_cast<std::size_t>(machine.pool);
    // Of a pool's machines and price each instance has an equal share.
    const double share = machine.powered_s / instances[pool];
    busy += machine.busy_s;
    powered += pool < price.pool_machines.size() ? share * price.pool_machines[pool] : machine.powered_s;
    if (pool < price.pool_dollars.size()) dollars += share / 3600 * price.pool_dollars[pool];
    figures.wakes += machine.wakes;
    figures.energy_j += machine.energy_j;
    output += static_cast<double>(machine.output_tokens);
  }
  figures.busy_share = Share(busy, result.span_s * static_cast<double>(result.machines.size()));
  figures.mean_watts = Share(figures.energy_j, result.span_s);
  figures.output_tokens_per_s = Share(output, result.span_s);
  figures.joules_per_token = Share(figures.energy_j, output);
  figures.dollars_per_million = Share(dollars * 1e6, output);
  figures.machines_powered = Share(powered, result.span_s);
}

}  // namespace

absl::StatusOr<FleetSpec> ParseFleet(std::string_view text) {
  FleetSpec fleet;
  while (true) {
    const std::size_t comma = text.find(',');
    BATON_ASSIGN_OR_RETURN(PoolSpec pool, ParsePool(text.substr(0, comma)));
    fleet.pools.push_back(std::move(pool));
    if (comma == std::string_view::npos) return fleet;
    text.remove_prefix(comma + 1);
  }
}

std::string FormatFleet(const FleetSpec& fleet) {
  std::string out;
  for (const PoolSpec& pool : fleet.pools) {
    fmt::format_to(std::back_inserter(out), "{}{}={}x{}", out.empty() ? "" : ",", NameOf(pool.role),
                   pool.machines, pool.machine);
    if (pool.tensor_parallel > 0) fmt::format_to(std::back_inserter(out), "/{}", pool.tensor_parallel);
    if (pool.gpu_cap_w > 0) fmt::format_to(std::back_inserter(out), "@{:g}w", pool.gpu_cap_w);
  }
  return out;
}

Figures FiguresOf(const FleetPrice& price, const Workload& workload, const RunResult& result, const Slo& slo,
                  const AloneModel& alone, double warm_up_s) {
  Figures figures;
  figures.price = price;
  Sums sums;
  for (const RequestOutcome& outcome : result.requests) {
    const WorkloadRequest& request = workload.requests[static_cast<std::size_t>(outcome.request)];
    // What an interrupted run has not ended is not known.
    if (result.interrupted && outcome.end == RequestEnd::kUnfinished) continue;
    if (request.arrival_s >= warm_up_s) AddRequest(request, outcome, figures, sums);
  }
  const auto done = static_cast<double>(figures.done);
  figures.mean_s = {Share(sums.latency[0], done), Share(sums.latency[1], sums.with_tbt),
                    Share(sums.latency[2], done)};
  figures.queue_mean_s = Share(sums.queue, done);
  figures.transfer_mean_s = Share(sums.transfer, done);
  figures.second_token_mean_s = Share(sums.second, done);
  figures.reused_share = Share(sums.reused, sums.prompt);
  const double first = workload.requests.empty() ? 0 : workload.requests.front().arrival_s;
  figures.offered_rate = Share(static_cast<double>(workload.requests.size()), result.last_arrival_s - first);
  figures.completed_rate = Share(done, result.span_s - std::max(0.0, warm_up_s - first));
  figures.extrapolated_share = result.extrapolated_share;
  figures.backlog_grows = result.backlog_grows;
  figures.interrupted = result.interrupted;
  AddMachines(result, figures);
  figures.verdict = Judge(workload, result, slo, alone, warm_up_s);
  if (figures.backlog_grows && !slo.Empty()) {
    figures.verdict.met = false;
    if (figures.verdict.tightest < 1) {
      figures.verdict.tightest = 1;
      figures.verdict.binding = "backlog";
    }
  }
  return figures;
}

Waterfall WaterfallOf(const RunResult& result) {
  Waterfall sum;
  double count = 0;
  for (const RequestOutcome& outcome : result.requests) {
    if (outcome.end != RequestEnd::kDone) continue;
    ++count;
    const double after = std::max(0.0, outcome.response_s - outcome.ttft_s);
    const double transfer = std::min({outcome.transfer_s, outcome.second_token_s, after});
    sum.queue_s += outcome.queue_s;
    sum.prefill_s += std::max(0.0, outcome.ttft_s - outcome.queue_s);
    sum.transfer_s += transfer;
    sum.decode_wait_s += std::min(outcome.second_token_s, after) - transfer;
    sum.decode_s += after - std::min(outcome.second_token_s, after);
  }
  for (double* part : {&sum.queue_s, &sum.prefill_s, &sum.transfer_s, &sum.decode_wait_s, &sum.decode_s}) {
    *part = Share(*part, count);
  }
  return sum;
}

Interval IntervalOf(const std::vector<double>& values) {
  if (values.empty()) return {};
  if (values.size() == 1) return {.mean = values[0]};
  const MeanInterval interval = ConfidenceInterval(values);
  return {.mean = interval.mean, .half_width = interval.half_width};
}

}  // namespace baton::simulator
