#include "perf/handoff_sweep.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "common/base/error.h"
#include "common/base/units.h"
#include "perf/chat.h"
#include "perf/load_client.h"
#include "perf/pause.h"
#include "perf/report.h"

namespace baton::perf {
namespace {

constexpr Duration kReportWait = std::chrono::seconds(5);
constexpr Duration kReportPause = std::chrono::milliseconds(10);

/// What the three processes count, as sums since their start.
struct Totals {
  HandoffTotals handoff;           // the router's
  double first_token_seconds = 0;  // the router's: a client does not see a token whose text is empty
  double begin_count = 0;          // prefill's
  double begin_seconds = 0;
  double whole_count = 0;  // decode's
  double whole_seconds = 0;
  double start_seconds = 0;
};

absl::StatusOr<Totals> Read(const HandoffSweepOptions& options) {
  BATON_ASSIGN_OR_RETURN(const MetricsText router, Scrape(options.server));
  BATON_ASSIGN_OR_RETURN(const MetricsText prefill, Scrape(options.prefill));
  BATON_ASSIGN_OR_RETURN(const MetricsText decode, Scrape(options.decode));
  const Labels prompts = {{"of", "prompt"}};
  return Totals{.handoff = ReadHandoffs(router),
                .first_token_seconds = router.Sum("baton_time_to_first_token_seconds_sum"),
                .begin_count = prefill.Sum("baton_handoff_begin_seconds_count"),
                .begin_seconds = prefill.Sum("baton_handoff_begin_seconds_sum"),
                .whole_count = decode.Sum("baton_handoff_seconds_count", prompts),
                .whole_seconds = decode.Sum("baton_handoff_seconds_sum", prompts),
                .start_seconds = decode.Sum("baton_handoff_start_seconds_sum", prompts)};
}

/// One hand-off, in milliseconds.
struct Sample {
  double whole = 0;  // from the end of the prompt's last step to the answer's first one on decode
  double begin = 0;  // of that, until KV was on the wire
  double start = 0;  // and since all of it was there
  double wire = 0;   // something was on the wire, before the last step's end too
  double first_token = 0;
  [[nodiscard]] double Exposed() const { return std::max(0.0, whole - begin - start); }
  [[nodiscard]] double NotWire() const { return whole - Exposed(); }
};

struct Series {
  std::string transport;
  double bytes = 0;
  double messages = 0;
  std::vector<Sample> samples;

  template <class Value>
  [[nodiscard]] Quantiles Of(Value value) const {
    std::vector<double> values;
    for (const Sample& sample : samples) values.push_back(std::invoke(value, sample));
    return QuantilesOf(std::move(values));
  }
};

/// The totals once each process has counted the hand-off after `before`.
absl::StatusOr<Totals> AwaitNext(const HandoffSweepOptions& options, const Totals& before) {
  const TimePoint deadline = std::chrono::steady_clock::now() + kReportWait;
  while (true) {
    BATON_ASSIGN_OR_RETURN(const Totals now, Read(options));
    if (now.handoff.count > before.handoff.count && now.begin_count > before.begin_count &&
        now.whole_count > before.whole_count)
      return now;
    if (std::chrono::steady_clock::now() >= deadline) {
      return Error(kDeadlineExceeded,
                   "router, prefill and decode report {}, {} and {} hand-offs more, 1 each is due",
                   now.handoff.count - before.handoff.count, now.begin_count - before.begin_count,
                   now.whole_count - before.whole_count);
    }
    PauseUntil(std::chrono::steady_clock::now() + kReportPause);
  }
}

absl::StatusOr<Series> Measure(const HandoffSweepOptions& options, std::int64_t length) {
  LoadOptions load{.server = options.server, .model = "", .prompt = "", .prompt_tokens = length};
  load.max_tokens = 8;
  load.ignore_eos = true;
  Series series;
  for (std::int64_t i = 0; i < options.repeat; ++i) {
    BATON_ASSIGN_OR_RETURN(const Totals before, Read(options));
    const Answer answer = Ask(
        {.server = options.server, .body = RequestBody(load, i), .stream = true, .timeout = options.timeout});
    if (!answer.Complete()) return Error(kUnavailable, "{} prompt tokens: {}", length, answer.Describe());
    BATON_ASSIGN_OR_RETURN(const Totals after, AwaitNext(options, before));
    const HandoffTotals handoff = Difference(after.handoff, before.handoff);
    series.transport = handoff.transport;
    series.bytes = handoff.bytes;
    series.messages = handoff.messages;
    series.samples.push_back({.whole = 1e3 * (after.whole_seconds - before.whole_seconds),
                              .begin = 1e3 * (after.begin_seconds - before.begin_seconds),
                              .start = 1e3 * (after.start_seconds - before.start_seconds),
                              .wire = 1e3 * handoff.wire_seconds,
                              .first_token = 1e3 * (after.first_token_seconds - before.first_token_seconds)});
  }
  return series;
}

std::string Row(std::int64_t length, const Series& series) {
  const Quantiles not_wire = series.Of(&Sample::NotWire);
  const double wire = series.Of(&Sample::wire).p50;
  const double exposed = series.Of(&Sample::Exposed).p50;
  return fmt::format(
      "| {} | {} | {:.0f} | {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | "
      "{:.0f} % | {:.1f} |",
      length, FormatBytes(static_cast<std::uint64_t>(series.bytes)), series.messages,
      series.transport.empty() ? "?" : series.transport, not_wire.p50, not_wire.p99,
      series.Of(&Sample::begin).p50, series.Of(&Sample::start).p50, series.Of(&Sample::whole).p50, wire,
      wire > 0 ? series.bytes / wire / 1e6 : 0, exposed, wire > 0 ? 100 * exposed / wire : 0,
      series.Of(&Sample::first_token).p50);
}

}  // namespace

int RunHandoffSweep(const HandoffSweepOptions& options) {
  fmt::print(
      "| prompt tokens | KV | messages | transport | not wire p50 ms | p99 | of it begin p50 | start p50 | "
      "hand-off p50 ms | wire p50 ms | GB/s | exposed p50 ms | of wire | TTFT p50 ms |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  Series all;
  for (const std::int64_t length : options.lengths) {
    const auto series = Measure(options, length);
    if (!series.ok()) {
      fmt::print(stderr, "baton-bench: {}\n", Message(series.status()));
      return series.status().code() == kUnavailable ? 4 : 1;
    }
    fmt::print("{}\n", Row(length, *series));
    std::fflush(stdout);
    all.samples.insert(all.samples.end(), series->samples.begin(), series->samples.end());
  }
  const Quantiles not_wire = all.Of(&Sample::NotWire);
  fmt::print("\nnot wire, all {} requests: p50 {:.2f} ms, p99 {:.2f} ms\n", not_wire.count, not_wire.p50,
             not_wire.p99);
  return 0;
}

}  // namespace baton::perf
