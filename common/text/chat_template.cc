#include "common/text/chat_template.h"

#include <utility>

#include "common/base/error.h"
#include "common/text/jinja/evaluator.h"
#include "common/text/jinja/parser.h"
#include "common/text/text_file.h"

namespace baton::text {
namespace {

constexpr std::size_t kMaxSourceBytes = 1U << 20;
constexpr std::size_t kMaxConfigBytes = 16U << 20;

/// A token given as its text or as an object with "content"; empty where there is none.
absl::StatusOr<std::string> TokenText(const json::Value& config, std::string_view key) {
  const json::Value* value = config.Find(key);
  if (value == nullptr || value->IsNull()) return std::string();
  if (value->AsString() != nullptr) return *value->AsString();
  const json::Value* content = value->Find("content");
  if (content != nullptr && content->AsString() != nullptr) return *content->AsString();
  return Error(kInvalidArgument, "{}: string expected, {} found", key, value->KindName());
}

/// The template's source: a string, or the one named "default" of a list.
absl::StatusOr<std::string> SourceOf(const json::Value& config) {
  const json::Value* value = config.Find("chat_template");
  if (value == nullptr || value->IsNull()) return Error(kNotFound, "has no chat_template");
  if (value->AsString() != nullptr) return *value->AsString();
  if (value->AsArray() != nullptr) {
    for (const json::Value& entry : *value->AsArray()) {
      const json::Value* name = entry.Find("name");
      const json::Value* source = entry.Find("template");
      if (name == nullptr || name->AsString() == nullptr || *name->AsString() != "default") continue;
      if (source != nullptr && source->AsString() != nullptr) return *source->AsString();
    }
    return Error(kInvalidArgument, "chat_template: no template named 'default' in the list");
  }
  return Error(kInvalidArgument, "chat_template: string expected, {} found", value->KindName());
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> FromConfig(const std::string& text) {
  BATON_ASSIGN_OR_RETURN(const json::Value config, json::Parse(text, {.bytes = kMaxConfigBytes}));
  BATON_ASSIGN_OR_RETURN(const std::string source, SourceOf(config));
  BATON_ASSIGN_OR_RETURN(std::string bos_token, TokenText(config, "bos_token"));
  BATON_ASSIGN_OR_RETURN(std::string eos_token, TokenText(config, "eos_token"));
  return ChatTemplate::Parse(source, std::move(bos_token), std::move(eos_token));
}

}  // namespace

struct ChatTemplate::State {
  jinja::Statements statements;
  jinja::Variables constants;  // bos_token and eos_token
};

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(std::string_view source,
                                                                  std::string bos_token,
                                                                  std::string eos_token) {
  if (source.size() > kMaxSourceBytes) {
    return Error(kInvalidArgument, "chat template: {} bytes, at most {} allowed", source.size(),
                 kMaxSourceBytes);
  }
  auto statements = jinja::Parse(source);
  if (!statements.ok()) return Annotate(statements.status(), "chat template");
  auto state = std::make_unique<State>();
  state->statements = *std::move(statements);
  state->constants.emplace("bos_token", jinja::Value(std::move(bos_token)));
  state->constants.emplace("eos_token", jinja::Value(std::move(eos_token)));
  return std::make_unique<ChatTemplate>(std::move(state));
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Load(const std::string& directory) {
  const std::string path = directory + "/tokenizer_config.json";
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxConfigBytes));
  auto chat_template = FromConfig(text);
  if (!chat_template.ok()) return Annotate(chat_template.status(), path);
  return chat_template;
}

absl::StatusOr<std::string> ChatTemplate::Render(const ChatInput& input) const {
  jinja::Variables variables = state_->constants;
  for (const auto& [name, value] : input.extra) variables.insert_or_assign(name, jinja::Value(value));
  variables.insert_or_assign("messages", jinja::Value(json::Value(input.messages)));
  variables.insert_or_assign("add_generation_prompt", jinja::Value(input.add_generation_prompt));
  return jinja::Evaluate(state_->statements, variables);
}

}  // namespace baton::text
