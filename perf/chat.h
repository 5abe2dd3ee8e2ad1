#pragma once

#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/net/connection.h"
#include "perf/answer.h"
#include "perf/metrics_text.h"

namespace baton::perf {

/// What the router counts of KV hand-offs, as sums since its start.
struct HandoffTotals {
  std::string transport = {};  // of the latest kind seen; "" = none yet
  double count = 0;
  double bytes = 0;
  double messages = 0;
  double wire_seconds = 0;     // something was on the wire
  double exposed_seconds = 0;  // of it, what came after the prompt's last step
};
[[nodiscard]] HandoffTotals ReadHandoffs(const MetricsText& metrics);
/// `later` less `earlier`.
[[nodiscard]] HandoffTotals Difference(const HandoffTotals& later, const HandoffTotals& earlier);

/// GET /metrics.
[[nodiscard]] absl::StatusOr<MetricsText> Scrape(const net::Address& server);

struct ChatOptions {
  net::Address server;
  std::string model;
  std::string prompt;
  std::int64_t max_tokens = 128;
  double temperature = 0.7;
  std::uint64_t seed = 0;
  Duration timeout = std::chrono::seconds(120);
};

/// One line of what happened: prompt tokens, time to first token, time between tokens, KV bytes, transport,
/// transfer rate, overlap (the share of the wire time that computing hid).
[[nodiscard]] std::string SummaryLine(const Answer& answer, const HandoffTotals& handoff);

/// Sends one streamed chat, prints the answer on stdout as it arrives, then the summary line. The exit code.
[[nodiscard]] int RunChat(const ChatOptions& options);

}  // namespace baton::perf
