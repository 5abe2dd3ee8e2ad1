#include "router/http/response.h"

#include <utility>

#include "router/http/logprobs_value.h"

namespace baton::router {
namespace {

using json::Array;
using json::Object;
using json::Value;

bool IsChat(const AnswerHead& head) {
  return head.endpoint == Endpoint::kChat;
}

Value UsageValue(const Usage& usage) {
  Object details;
  details.emplace_back("cached_tokens", usage.cached_tokens);
  Object out;
  out.emplace_back("prompt_tokens", usage.prompt_tokens);
  out.emplace_back("completion_tokens", usage.completion_tokens);
  out.emplace_back("total_tokens", usage.prompt_tokens + usage.completion_tokens);
  out.emplace_back("prompt_tokens_details", std::move(details));
  return out;
}

Object Common(const AnswerHead& head, std::string_view object) {
  Object out;
  out.emplace_back("id", head.id);
  out.emplace_back("object", object);
  out.emplace_back("created", head.created);
  out.emplace_back("model", head.model);
  out.emplace_back("system_fingerprint", head.system_fingerprint);
  return out;
}

std::string Event(const Value& value) {
  return "data: " + json::Serialize(value) + "\n\n";
}

std::string Chunk(const AnswerHead& head, Array choices, const std::optional<Value>& usage) {
  Object out = Common(head, IsChat(head) ? "chat.completion.chunk" : "text_completion");
  out.emplace_back("choices", std::move(choices));
  if (usage) out.emplace_back("usage", *usage);
  return Event(out);
}

std::optional<Value> UsageOf(UsageStyle style, const Usage& usage) {
  switch (style) {
    case UsageStyle::kAbsent:
      return std::nullopt;
    case UsageStyle::kNull:
      return Value();
    case UsageStyle::kContinuous:
      return UsageValue(usage);
  }
  return std::nullopt;
}

Object Choice(std::int64_t index) {
  Object out;
  out.emplace_back("index", index);
  return out;
}

void AppendEnd(Object& choice, const AnswerEnd& end) {
  choice.emplace_back("finish_reason", end.finish_reason);
  choice.emplace_back("stop_reason", end.stop_reason);
}

}  // namespace

std::string TextEvent(const AnswerHead& head, const TextPiece& piece, bool first, UsageStyle style,
                      const Usage& usage) {
  Object choice = Choice(piece.choice);
  if (IsChat(head)) {
    Object delta;
    if (first) delta.emplace_back("role", "assistant");
    delta.emplace_back("content", piece.text);
    choice.emplace_back("delta", std::move(delta));
  } else {
    choice.emplace_back("text", piece.text);
  }
  choice.emplace_back("logprobs", LogprobsValue(head.endpoint, piece.logprobs));
  choice.emplace_back("finish_reason", nullptr);
  return Chunk(head, Array{std::move(choice)}, UsageOf(style, usage));
}

std::string FinishEvent(const AnswerHead& head, std::int32_t index, const AnswerEnd& end, UsageStyle style,
                        const Usage& usage) {
  Object choice = Choice(index);
  if (IsChat(head)) {
    choice.emplace_back("delta", Object{});
  } else {
    choice.emplace_back("text", "");
  }
  choice.emplace_back("logprobs", nullptr);
  AppendEnd(choice, end);
  return Chunk(head, Array{std::move(choice)}, UsageOf(style, usage));
}

std::string UsageEvent(const AnswerHead& head, const Usage& usage) {
  return Chunk(head, Array{}, UsageValue(usage));
}

std::string ErrorEvent(const ApiError& error) {
  return "data: " + ErrorBody(error) + "\n\n";
}

std::string WholeBody(const AnswerHead& head, const std::vector<WholeChoice>& choices, const Usage& usage) {
  Array all;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    Object choice = Choice(static_cast<std::int64_t>(i));
    if (IsChat(head)) {
      Object message;
      message.emplace_back("role", "assistant");
      message.emplace_back("content", choices[i].text);
      message.emplace_back("refusal", nullptr);
      choice.emplace_back("message", std::move(message));
    } else {
      choice.emplace_back("text", choices[i].text);
    }
    choice.emplace_back("logprobs", LogprobsValue(head.endpoint, choices[i].logprobs));
    AppendEnd(choice, choices[i].end);
    all.emplace_back(std::move(choice));
  }
  Object out = Common(head, IsChat(head) ? "chat.completion" : "text_completion");
  out.emplace_back("choices", std::move(all));
  out.emplace_back("usage", UsageValue(usage));
  return json::Serialize(out);
}

json::Value ModelObject(const ModelEntry& model) {
  Object out;
  out.emplace_back("id", model.id);
  out.emplace_back("object", "model");
  out.emplace_back("created", model.created);
  out.emplace_back("owned_by", "baton");
  out.emplace_back("root", model.id);
  out.emplace_back("parent", nullptr);
  out.emplace_back("max_model_len", model.context_tokens);
  return out;
}

std::string ModelListBody(const ModelEntry& model) {
  Object out;
  out.emplace_back("object", "list");
  out.emplace_back("data", Array{ModelObject(model)});
  return json::Serialize(out);
}

}  // namespace baton::router
