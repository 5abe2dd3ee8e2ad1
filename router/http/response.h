#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json/value.h"
#include "router/http/errors.h"
#include "router/http/request.h"

/// The bytes of answers: whole bodies and server-sent events. Pure.
namespace baton::router {

/// What every body and event of an answer repeats.
struct AnswerHead {
  Endpoint endpoint = Endpoint::kCompletions;
  std::string id;  // "cmpl-..." or "chatcmpl-..."
  std::string model;
  std::string system_fingerprint;
  std::int64_t created = 0;  // Unix seconds
};

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the prompt: found, not computed
};

struct AnswerEnd {
  std::string finish_reason;  // "stop", "length"
  json::Value
      stop_reason;  // the stop string, or the id of a stop token that the client named; null otherwise
};

/// A token of an answer or an alternative to one, as clients see it.
struct ShownToken {
  std::string bytes;  // not always whole characters
  double logprob = 0;
};
struct ShownLogprobs {
  ShownToken token;
  std::vector<ShownToken> top;
  bool known = true;             // false: of a prompt's first token, which nothing stands before
  std::int64_t text_offset = 0;  // characters of the choice's text before it
};

/// What a choice grows by.
struct TextPiece {
  std::int32_t choice = 0;
  std::string text;
  std::vector<ShownLogprobs> logprobs = {};  // empty where not asked for
};

/// How a stream's events speak of usage.
enum class UsageStyle {
  kAbsent,      // not asked for
  kNull,        // asked for: null but in the event before [DONE]
  kContinuous,  // in every event
};

/// An event with text. The first of a chat also carries the role.
[[nodiscard]] std::string TextEvent(const AnswerHead& head, const TextPiece& piece, bool first,
                                    UsageStyle style, const Usage& usage);
/// The event that ends the choice.
[[nodiscard]] std::string FinishEvent(const AnswerHead& head, std::int32_t choice, const AnswerEnd& end,
                                      UsageStyle style, const Usage& usage);
/// The event between the finish and [DONE] where usage was asked for.
[[nodiscard]] std::string UsageEvent(const AnswerHead& head, const Usage& usage);
[[nodiscard]] std::string ErrorEvent(const ApiError& error);
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";
inline constexpr std::string_view kKeepAlive = ": keep-alive\n\n";

struct WholeChoice {
  std::string text;
  std::vector<ShownLogprobs> logprobs = {};
  AnswerEnd end = {};
};
/// The body of an answer that is not streamed.
[[nodiscard]] std::string WholeBody(const AnswerHead& head, const std::vector<WholeChoice>& choices,
                                    const Usage& usage);

struct ModelEntry {
  std::string id;
  std::int64_t created = 0;
  std::int64_t context_tokens = 0;
};
[[nodiscard]] json::Value ModelObject(const ModelEntry& model);
[[nodiscard]] std::string ModelListBody(const ModelEntry& model);

}  // namespace baton::router
