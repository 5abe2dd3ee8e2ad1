#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/ids.h"
#include "common/json/value.h"
#include "router/http/errors.h"

namespace baton::router {

enum class Endpoint { kCompletions, kChat };
[[nodiscard]] std::string_view Name(Endpoint endpoint);

struct TokenBias {
  TokenId token = 0;
  float bias = 0;  // added to the token's logit
};

/// A body of /v1/completions or /v1/chat/completions, checked. Absent optionals are the client's silence.
struct GenerationRequest {
  Endpoint endpoint = Endpoint::kCompletions;
  std::string model;
  using Prompt = std::variant<std::string, std::vector<TokenId>>;
  std::vector<Prompt> prompts;  // completions: each has choices of its own
  json::Array messages;  // chat: objects with "role" and "content", a string or (beside tool calls) null
  std::optional<json::Array> tools;  // chat: what the template is shown; absent with "tool_choice": "none"
  std::optional<json::Array> documents;  // chat: objects
  json::Object template_variables;       // chat: chat_template_kwargs, none of them a name that is ours

  std::optional<std::int64_t> max_tokens;
  std::int64_t min_tokens = 0;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<std::int64_t> top_k;  // 0 = off
  std::optional<double> min_p;
  std::optional<std::uint64_t> seed;
  std::optional<double> repetition_penalty;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<TokenBias> bias;
  std::int32_t choices = 1;    // of each prompt
  std::int32_t logprobs = -1;  // alternatives to show with each token; below 0: no log-probabilities
  std::string grammar;         // a JSON schema, or grammar::kAnyObjectText; empty: any text
  bool echo = false;           // completions: the prompt comes before the answer

  std::vector<std::string> stop;
  bool include_stop_text = false;
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
  bool skip_special_tokens = true;

  std::string cache_salt;  // KV is shared only between requests of equal salts

  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;

  /// Whether the tokenizer adds what begins a text of its model; by default to a completion's prompt alone,
  /// as a chat's template writes it itself.
  bool add_special_tokens = true;

  int ignored_fields = 0;  // unknown ones
};

/// Bounds on what a body may ask for.
struct RequestLimits {
  std::int32_t vocabulary = 0;
  std::size_t stop_strings_max = 16;
  std::size_t stop_string_bytes_max = 256;
  std::size_t stop_ids_max = 256;
  std::size_t messages_max = 4096;
  std::size_t prompts_max = 256;
  std::size_t biases_max = 1024;
  std::int64_t choices_max = 64;
  std::int64_t all_choices_max = 256;        // of all prompts together
  std::size_t tools_max = 128;               // also tool calls of one message
  std::size_t tools_bytes_max = 256U << 10;  // of all tools, as JSON
  std::size_t documents_max = 128;
  std::size_t template_variables_max = 32;
  std::size_t template_variables_bytes_max = 16U << 10;  // of all, as JSON
  bool strict_fields = false;                            // an unknown field is an error
  json::Limits json;
};

/// Checks `body` and fills `out`; the first error, or nothing. Null counts as absent for every optional
/// field; a field that would change the answer and is not implemented is an error, never ignored. Pure.
[[nodiscard]] std::optional<ApiError> ParseRequest(Endpoint endpoint, std::string_view body,
                                                   const RequestLimits& limits, GenerationRequest& out);

}  // namespace baton::router
