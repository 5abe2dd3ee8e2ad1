#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/net/connection.h"

/// One request to an OpenAI-compatible server, and what came back, with times.
namespace baton::perf {

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the prompt
};

/// What came back. Everything a test or a report asks of an answer, streamed or whole.
struct Answer {
  int status = 0;    // 0: no answer at all, see `transport_error`
  std::string body;  // of an answer that is not a stream
  std::string text;  // of choice 0, all pieces joined
  std::string finish_reason;
  std::string error_code;  // of an error body or an error event
  std::string error_message;
  std::string framing_error;    // what broke the rules of the stream or of its JSON; "" = nothing
  std::string transport_error;  // connection refused, cut off, or timed out; "" = none
  bool hung_up = false;         // by `on_text` or the timeout, not by the server
  bool done = false;            // [DONE] came
  int finish_events = 0;        // events with a finish_reason
  std::optional<Usage> usage;
  TimePoint begun;
  std::vector<TimePoint> text_at;  // of each event with text
  TimePoint ended;

  /// A stream that ended properly, or a whole answer: with its finish reason and without any error.
  [[nodiscard]] bool Complete() const;
  /// One line for messages: status, finish, errors.
  [[nodiscard]] std::string Describe() const;
};

struct AskOptions {
  net::Address server;
  std::string path = "/v1/completions";
  std::string body;     // JSON
  bool stream = false;  // how to read the answer: as the body asks for it
  Duration timeout = std::chrono::seconds(120);
  /// Sees each piece of text of a stream; false hangs up.
  std::function<bool(std::string_view text)> on_text = {};
  /// Sees the data of each event of a stream, before `on_text`.
  std::function<void(std::string_view data)> on_event = {};
};

/// Sends one request and reads its answer to the end. Blocks; thread-safe.
[[nodiscard]] Answer Ask(const AskOptions& options);

/// "http://host:port" as an address; other schemes and paths are refused.
[[nodiscard]] absl::StatusOr<net::Address> ParseUrl(std::string_view url);

}  // namespace baton::perf
