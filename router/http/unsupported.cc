#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "router/http/fields.h"

/// What the API knows and this server does not do yet. Each field has values that ask for nothing; anything
/// else is an error, because an answer that ignored it would be wrong without saying so.
namespace baton::router {
namespace {

bool IsFalse(const json::Value& v) {
  return v.AsBool() != nullptr && !*v.AsBool();
}
bool IsZero(const json::Value& v) {
  return v.IsNumber() && v.Number() == 0;
}
bool IsOne(const json::Value& v) {
  return v.IsNumber() && v.Number() == 1;
}
bool IsEmpty(const json::Value& v) {
  return (v.AsArray() != nullptr && v.AsArray()->empty()) ||
         (v.AsObject() != nullptr && v.AsObject()->empty()) ||
         (v.AsString() != nullptr && v.AsString()->empty());
}
bool IsNoToolChoice(const json::Value& v) {
  return v.AsString() != nullptr && (*v.AsString() == "none" || *v.AsString() == "auto");
}
bool IsTextFormat(const json::Value& v) {
  const json::Value* type = v.Find("type");
  return type != nullptr && type->AsString() != nullptr && *type->AsString() == "text";
}
bool IsTextAlone(const json::Value& v) {
  return v.AsArray() != nullptr && v.AsArray()->size() == 1 && v.AsArray()->front().AsString() != nullptr &&
         *v.AsArray()->front().AsString() == "text";
}
bool Never(const json::Value& /*v*/) {
  return false;
}

struct Unsupported {
  std::string_view key;
  bool (*neutral)(const json::Value&);
};

constexpr auto kUnsupported = std::to_array<Unsupported>({
    {"best_of", IsOne},
    {"echo", IsFalse},
    {"suffix", IsEmpty},
    {"logprobs", IsFalse},
    {"prompt_logprobs", Never},
    {"logit_bias", IsEmpty},
    {"response_format", IsTextFormat},
    {"structured_outputs", Never},
    {"guided_json", Never},
    {"guided_regex", Never},
    {"guided_choice", Never},
    {"guided_grammar", Never},
    {"tools", IsEmpty},
    {"tool_choice", IsNoToolChoice},
    {"functions", IsEmpty},
    {"function_call", IsNoToolChoice},
    {"modalities", IsTextAlone},
    {"audio", Never},
    {"chat_template", Never},  // never from clients: a template is a program
    {"chat_template_kwargs", IsEmpty},
    {"continue_final_message", IsFalse},
    {"use_beam_search", IsFalse},
    {"length_penalty", IsOne},
    {"priority", IsZero},
    {"return_token_ids", IsFalse},
    {"return_tokens_as_token_ids", IsFalse},
    {"truncate_prompt_tokens", Never},
    {"bad_words", IsEmpty},
    {"allowed_token_ids", IsEmpty},
});

/// Accepted, without effect on the answer.
constexpr auto kAccepted = std::to_array<std::string_view>(
    {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "request_id", "cache_salt"});

void Penalty(Fields& fields, std::string_view key, const Fields::Range& range, double neutral) {
  std::optional<double> value;
  fields.Number(key, range, value);
  if (value && *value != neutral) {
    fields.Fail(UnsupportedParameter(key, fmt::format("'{}' other than {} is not supported", key, neutral)));
  }
}

}  // namespace

void CheckUnsupported(Fields& fields) {
  for (const Unsupported& field : kUnsupported) {
    const json::Value* value = fields.Take(field.key);
    if (value == nullptr || field.neutral(*value)) continue;
    fields.Fail(
        UnsupportedParameter(field.key, fmt::format("'{}' is not supported with this value", field.key)));
  }
  std::optional<std::int64_t> top_logprobs;
  fields.Integer("top_logprobs", 0, 20, top_logprobs);
  if (top_logprobs.value_or(0) != 0) {
    fields.Fail(UnsupportedParameter("top_logprobs", "'top_logprobs' is not supported with this value"));
  }
  // The greatest finite double: no upper bound but "finite".
  constexpr double kAny = 1.7976931348623157e308;
  Penalty(fields, "presence_penalty", {.low = -2, .high = 2}, 0);
  Penalty(fields, "frequency_penalty", {.low = -2, .high = 2}, 0);
  Penalty(fields, "repetition_penalty", {.low = 0, .high = kAny, .open_low = true}, 1);
  for (const std::string_view key : kAccepted) static_cast<void>(fields.Take(key));
}

}  // namespace baton::router
