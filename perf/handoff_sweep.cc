#include "perf/handoff_sweep.h"

#include <algorithm>
#include <cstdio>

#include "common/base/error.h"
#include "common/base/units.h"
#include "perf/chat.h"
#include "perf/load_client.h"
#include "perf/pause.h"

namespace baton::perf {
namespace {

constexpr Duration kReportWait = std::chrono::seconds(5);
constexpr Duration kReportPause = std::chrono::milliseconds(10);

struct Totals {
  HandoffTotals handoff;
  double first_token_seconds = 0;  // the router's: a client does not see a token whose text is empty
};

Totals Read(const MetricsText& metrics) {
  return {.handoff = ReadHandoffs(metrics),
          .first_token_seconds = metrics.Sum("baton_time_to_first_token_seconds_sum")};
}

/// The router's counters once they hold `count` more hand-offs than `before`.
absl::StatusOr<Totals> AwaitCount(const net::Address& server, const Totals& before, double count) {
  const TimePoint deadline = std::chrono::steady_clock::now() + kReportWait;
  while (true) {
    BATON_ASSIGN_OR_RETURN(const MetricsText metrics, Scrape(server));
    const Totals now = Read(metrics);
    const Totals since{.handoff = Difference(now.handoff, before.handoff),
                       .first_token_seconds = now.first_token_seconds - before.first_token_seconds};
    if (since.handoff.count >= count) return since;
    if (std::chrono::steady_clock::now() >= deadline) {
      return Error(kDeadlineExceeded, "the router reports {} of {} hand-offs", since.handoff.count, count);
    }
    PauseUntil(std::chrono::steady_clock::now() + kReportPause);
  }
}

/// One row of the table.
absl::StatusOr<std::string> Measure(const HandoffSweepOptions& options, std::int64_t length) {
  BATON_ASSIGN_OR_RETURN(const MetricsText metrics, Scrape(options.server));
  const Totals before = Read(metrics);
  LoadOptions load{.server = options.server, .model = "", .prompt = "", .prompt_tokens = length};
  load.max_tokens = 8;
  load.ignore_eos = true;
  for (std::int64_t i = 0; i < options.repeat; ++i) {
    const Answer answer = Ask(
        {.server = options.server, .body = RequestBody(load, i), .stream = true, .timeout = options.timeout});
    if (!answer.Complete()) return Error(kUnavailable, "{} prompt tokens: {}", length, answer.Describe());
  }
  BATON_ASSIGN_OR_RETURN(const Totals totals,
                         AwaitCount(options.server, before, static_cast<double>(options.repeat)));
  const HandoffTotals& since = totals.handoff;
  const auto mean_ms = [&](double seconds) { return 1e3 * seconds / since.count; };
  const double hidden =
      since.wire_seconds > 0 ? 1 - std::min(since.exposed_seconds / since.wire_seconds, 1.0) : 0;
  // Layer by layer, the time from the first send to the ACK is the prompt's, and says nothing of the wire's
  // speed.
  const std::string rate = hidden < 0.5 && since.wire_seconds > 0
                               ? fmt::format("{:.2f}", since.bytes / since.wire_seconds / 1e9)
                               : "-";
  const double not_wire = std::max(since.handoff_seconds - since.exposed_seconds, 0.0);
  return fmt::format("| {} | {} | {:.0f} | {} | {:.2f} | {} | {:.2f} | {:.2f} | {:.2f} | {:.0f} % | {:.1f} |",
                     length, FormatBytes(static_cast<std::uint64_t>(since.bytes / since.count)),
                     since.messages / since.count, since.transport.empty() ? "?" : since.transport,
                     mean_ms(since.wire_seconds), rate, mean_ms(since.handoff_seconds),
                     mean_ms(since.exposed_seconds), mean_ms(not_wire), 100 * hidden,
                     mean_ms(totals.first_token_seconds));
}

}  // namespace

int RunHandoffSweep(const HandoffSweepOptions& options) {
  fmt::print(
      "| prompt tokens | KV | messages | transport | first send to ACK ms | GB/s | last KV computed to ACK "
      "ms | "
      "of it wire alone ms | of it not wire ms | wire hidden | TTFT ms |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const std::int64_t length : options.lengths) {
    const auto row = Measure(options, length);
    if (!row.ok()) {
      fmt::print(stderr, "baton-bench: {}\n", Message(row.status()));
      return row.status().code() == kUnavailable ? 4 : 1;
    }
    fmt::print("{}\n", *row);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace baton::perf
