#include "perf/chat.h"

#include <algorithm>
#include <cstdio>

#include "common/base/error.h"
#include "common/base/units.h"
#include "common/json/value.h"
#include "common/net/http_client.h"
#include "perf/pause.h"
#include "perf/report.h"

namespace baton::perf {
namespace {

// The prefill worker's report of a transfer may come after the answer's end.
constexpr Duration kReportWait = std::chrono::seconds(2);
constexpr Duration kReportPause = std::chrono::milliseconds(20);

std::string ChatBody(const ChatOptions& options) {
  json::Object body;
  if (!options.model.empty()) body.emplace_back("model", options.model);
  body.emplace_back("messages", json::Array{json::Object{{"role", "user"}, {"content", options.prompt}}});
  body.emplace_back("max_tokens", options.max_tokens);
  body.emplace_back("temperature", options.temperature);
  body.emplace_back("top_p", 0.9);
  body.emplace_back("seed", static_cast<std::int64_t>(options.seed >> 1));
  body.emplace_back("stream", true);
  body.emplace_back("stream_options", json::Object{{"include_usage", true}});
  return json::Serialize(body);
}

bool PrintPiece(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  return true;
}

/// What the router has counted since `before`, once it has the hand-off's report or the wait is over.
HandoffTotals AwaitHandoff(const net::Address& server, const HandoffTotals& before) {
  const TimePoint deadline = std::chrono::steady_clock::now() + kReportWait;
  HandoffTotals since;
  while (true) {
    if (const auto metrics = Scrape(server); metrics.ok()) since = Difference(ReadHandoffs(*metrics), before);
    if (since.count > 0 || std::chrono::steady_clock::now() >= deadline) return since;
    PauseUntil(std::chrono::steady_clock::now() + kReportPause);
  }
}

}  // namespace

HandoffTotals ReadHandoffs(const MetricsText& metrics) {
  HandoffTotals totals{.count = metrics.Sum("baton_kv_handoff_total"),
                       .bytes = metrics.Sum("baton_kv_handoff_bytes_total"),
                       .messages = metrics.Sum("baton_kv_handoff_messages_total"),
                       .wire_seconds = metrics.Sum("baton_kv_handoff_wire_seconds_total"),
                       .exposed_seconds = metrics.Sum("baton_kv_handoff_exposed_seconds_total")};
  for (const MetricsText::Sample& sample : metrics.Samples()) {
    if (sample.name != "baton_kv_handoff_bytes_total" || sample.value == 0) continue;
    for (const auto& [name, value] : sample.labels) {
      if (name == "transport") totals.transport = value;
    }
  }
  return totals;
}

HandoffTotals Difference(const HandoffTotals& later, const HandoffTotals& earlier) {
  return {.transport = later.transport,
          .count = later.count - earlier.count,
          .bytes = later.bytes - earlier.bytes,
          .messages = later.messages - earlier.messages,
          .wire_seconds = later.wire_seconds - earlier.wire_seconds,
          .exposed_seconds = later.exposed_seconds - earlier.exposed_seconds};
}

absl::StatusOr<MetricsText> Scrape(const net::Address& server) {
  BATON_ASSIGN_OR_RETURN(
      const net::HttpResponse response,
      net::HttpClient::Request(server, "GET", "/metrics", {}, "", std::chrono::seconds(5)));
  if (response.status != 200) {
    return Error(kUnavailable, "{}: GET /metrics: status {}", server.ToString(), response.status);
  }
  return MetricsText::Parse(response.body);
}

std::string SummaryLine(const Answer& answer, const HandoffTotals& handoff) {
  std::vector<double> between;
  for (std::size_t i = 1; i < answer.text_at.size(); ++i) {
    between.push_back(Milliseconds(answer.text_at[i] - answer.text_at[i - 1]));
  }
  const double first = answer.text_at.empty() ? 0 : Milliseconds(answer.text_at.front() - answer.begun);
  std::string line =
      fmt::format("prompt {} tokens | answer {} tokens | TTFT {:.1f} ms | between tokens {:.2f} ms (p50)",
                  answer.usage ? answer.usage->prompt_tokens : 0,
                  answer.usage ? answer.usage->completion_tokens : 0, first, QuantilesOf(between).p50);
  if (handoff.count <= 0) return line + " | KV: the router reports no hand-off";
  line += fmt::format(" | KV {} over {}", FormatBytes(static_cast<std::uint64_t>(handoff.bytes)),
                      handoff.transport.empty() ? "?" : handoff.transport);
  if (handoff.wire_seconds > 0) {
    const double hidden = 1 - std::min(handoff.exposed_seconds / handoff.wire_seconds, 1.0);
    line += fmt::format(" at {:.2f} GB/s | overlap {:.0f} %", handoff.bytes / handoff.wire_seconds / 1e9,
                        100 * hidden);
  }
  return line;
}

int RunChat(const ChatOptions& options) {
  const auto before = Scrape(options.server);
  if (!before.ok()) {
    fmt::print(stderr, "baton-bench: {}; is the router running?\n", Message(before.status()));
    return 4;
  }
  const Answer answer = Ask({.server = options.server,
                             .path = "/v1/chat/completions",
                             .body = ChatBody(options),
                             .stream = true,
                             .timeout = options.timeout,
                             .on_text = PrintPiece});
  fmt::print("\n");
  if (!answer.Complete()) {
    fmt::print(stderr, "baton-bench: no whole answer: {}\n", answer.Describe());
    return answer.status == 0 ? 4 : 1;
  }
  fmt::print("{}\n", SummaryLine(answer, AwaitHandoff(options.server, ReadHandoffs(*before))));
  return 0;
}

}  // namespace baton::perf
