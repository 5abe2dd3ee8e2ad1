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
bool IsTrue(const json::Value& v) {
  return v.AsBool() != nullptr && *v.AsBool();
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
    {"suffix", IsEmpty},
    {"prompt_logprobs", Never},
    {"structured_outputs", Never},
    {"guided_json", Never},
    {"guided_regex", Never},
    {"guided_choice", Never},
    {"guided_grammar", Never},
    {"tools", IsEmpty},  // of completions; chats have read these four by now
    {"tool_choice", IsNoToolChoice},
    {"documents", IsEmpty},
    {"functions", IsEmpty},
    {"function_call", IsNoToolChoice},
    {"modalities", IsTextAlone},
    {"audio", Never},
    {"chat_template", Never},  // never from clients: a template is a program
    {"chat_template_kwargs", IsEmpty},
    {"add_generation_prompt", IsTrue},
    {"continue_final_message", IsFalse},
    {"reasoning_effort", Never},
    {"prompt_embeds", Never},
    {"logits_processors", IsEmpty},
    {"spaces_between_special_tokens", IsTrue},
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
    {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "request_id"});

}  // namespace

void CheckUnsupported(Fields& fields) {
  for (const Unsupported& field : kUnsupported) {
    const json::Value* value = fields.TakeUnread(field.key);
    if (value == nullptr || field.neutral(*value)) continue;
    fields.Fail(
        UnsupportedParameter(field.key, fmt::format("'{}' is not supported with this value", field.key)));
  }
  for (const std::string_view key : kAccepted) static_cast<void>(fields.Take(key));
}

}  // namespace baton::router
