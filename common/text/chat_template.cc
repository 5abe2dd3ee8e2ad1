#include "common/text/chat_template.h"

#include <chrono>
#include <utility>

#include <absl/container/flat_hash_set.h>

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

/// The sources of tokenizer_config.json: a string, or those named "default" and "tool_use" of a list.
struct Sources {
  std::string usual;
  std::optional<std::string> with_tools;
};

absl::StatusOr<Sources> SourcesIn(const json::Array& list) {
  std::optional<std::string> usual;
  Sources sources;
  for (const json::Value& entry : list) {
    const json::Value* name = entry.Find("name");
    const json::Value* source = entry.Find("template");
    if (name == nullptr || source == nullptr || name->AsString() == nullptr ||
        source->AsString() == nullptr) {
      return Error(kInvalidArgument, "chat_template: an entry without the strings name and template");
    }
    if (*name->AsString() == "default") usual = *source->AsString();
    if (*name->AsString() == "tool_use") sources.with_tools = *source->AsString();
  }
  if (!usual) return Error(kInvalidArgument, "chat_template: no template named 'default' in the list");
  sources.usual = *std::move(usual);
  return sources;
}

absl::StatusOr<Sources> SourcesOf(const json::Value& config) {
  const json::Value* value = config.Find("chat_template");
  if (value == nullptr || value->IsNull()) return Error(kNotFound, "has no chat_template");
  if (value->AsString() != nullptr) return Sources{.usual = *value->AsString(), .with_tools = std::nullopt};
  if (value->AsArray() != nullptr) return SourcesIn(*value->AsArray());
  return Error(kInvalidArgument, "chat_template: string expected, {} found", value->KindName());
}

std::int64_t SystemTime() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

}  // namespace

struct ChatTemplate::State {
  jinja::Statements statements;
  jinja::Variables constants;                // bos_token and the like
  absl::flat_hash_set<std::string> names;    // that the template uses
  std::unique_ptr<ChatTemplate> with_tools;  // for chats that have some; null where this one does
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
  state->names = jinja::NamesIn(source);
  state->constants.emplace("bos_token", jinja::Value(std::move(bos_token)));
  state->constants.emplace("eos_token", jinja::Value(std::move(eos_token)));
  return std::make_unique<ChatTemplate>(std::move(state));
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::FromConfig(
    const std::string& text, const std::optional<std::string>& file) {
  BATON_ASSIGN_OR_RETURN(const json::Value config, json::Parse(text, {.bytes = kMaxConfigBytes}));
  Sources sources;
  if (file) {
    sources.usual = *file;
  } else {
    BATON_ASSIGN_OR_RETURN(sources, SourcesOf(config));
  }
  BATON_ASSIGN_OR_RETURN(const std::string bos_token, TokenText(config, "bos_token"));
  BATON_ASSIGN_OR_RETURN(const std::string eos_token, TokenText(config, "eos_token"));
  BATON_ASSIGN_OR_RETURN(std::unique_ptr<ChatTemplate> chat_template,
                         Parse(sources.usual, bos_token, eos_token));
  if (sources.with_tools) {
    BATON_ASSIGN_OR_RETURN(chat_template->state_->with_tools,
                           Parse(*sources.with_tools, bos_token, eos_token));
  }
  for (const std::string_view key : {"unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    BATON_ASSIGN_OR_RETURN(const std::string token, TokenText(config, key));
    if (token.empty()) continue;
    chat_template->state_->constants.emplace(key, jinja::Value(token));
    if (sources.with_tools)
      chat_template->state_->with_tools->state_->constants.emplace(key, jinja::Value(token));
  }
  return chat_template;
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Load(const std::string& directory) {
  const std::string path = directory + "/tokenizer_config.json";
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxConfigBytes));
  // Newer models keep the template in a file of its own, which then counts.
  std::optional<std::string> file;
  absl::StatusOr<std::string> source = ReadTextFile(directory + "/chat_template.jinja", kMaxSourceBytes);
  if (source.ok()) {
    file = *std::move(source);
  } else if (source.status().code() != kNotFound) {
    return source.status();
  }
  auto chat_template = FromConfig(text, file);
  if (!chat_template.ok()) return Annotate(chat_template.status(), path);
  return chat_template;
}

bool ChatTemplate::Reads(std::string_view variable) const {
  return state_->names.contains(std::string(variable)) ||
         (state_->with_tools != nullptr && state_->with_tools->Reads(variable));
}

absl::StatusOr<std::string> ChatTemplate::Render(const ChatInput& input) const {
  const bool has_tools = input.tools && !input.tools->empty();
  if (has_tools && state_->with_tools != nullptr) return state_->with_tools->Render(input);
  jinja::Variables variables = state_->constants;
  const auto set = [&](std::string_view name, jinja::Value value) {
    variables.insert_or_assign(std::string(name), std::move(value));
  };
  for (const auto& [name, value] : input.extra) set(name, jinja::Value(value));
  set("messages", jinja::Value(json::Value(input.messages)));
  set("add_generation_prompt", jinja::Value(input.add_generation_prompt));
  if (input.tools) set("tools", jinja::Value(json::Value(*input.tools)));
  if (input.documents) set("documents", jinja::Value(json::Value(*input.documents)));
  return jinja::Evaluate(state_->statements, variables, input.now_unix_s ? *input.now_unix_s : SystemTime());
}

}  // namespace baton::text
