#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/json/value.h"

namespace baton::text {

/// What a template sees. `messages` is an array of objects with "role" and "content". Variables that are not
/// given are undefined in the template, so that it can take its own defaults.
struct ChatInput {
  json::Array messages = {};
  bool add_generation_prompt = true;
  std::optional<json::Array> tools = std::nullopt;
  std::optional<json::Array> documents = std::nullopt;
  json::Object extra = {};  // further variables, such as enable_thinking; those above win
  std::optional<std::int64_t> now_unix_s = std::nullopt;  // of strftime_now, in UTC; the system's clock else
};

/// A chat template: the Jinja of `tokenizer_config.json` in a sandboxed evaluator of the subset that
/// templates use. No file access, no attribute of the host, bounded steps, depth and output. Clients can
/// never supply one. Immutable after `Parse`; safe to share between threads.
class ChatTemplate {
  struct State;

 public:
  /// For the factories below: nobody else can name a state.
  explicit ChatTemplate(std::unique_ptr<State> state);
  /// Parses `source`. A construct outside the subset is an error with line and column. `bos_token` and
  /// `eos_token` are variables of the template.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ChatTemplate>> Parse(std::string_view source,
                                                                           std::string bos_token,
                                                                           std::string eos_token);
  /// From `directory`/tokenizer_config.json, or chat_template.jinja beside it. NotFound where there is none.
  /// Of a list of named templates, "default" is taken, and "tool_use" where there is one and a chat has
  /// tools.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ChatTemplate>> Load(const std::string& directory);

  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;
  ~ChatTemplate();

  /// Whether the template asks for the variable: what it does not ask for would be dropped without a word.
  [[nodiscard]] bool Reads(std::string_view variable) const;
  /// The prompt's text. InvalidArgument with the template's own words where it calls raise_exception.
  [[nodiscard]] absl::StatusOr<std::string> Render(const ChatInput& input) const;

 private:
  /// `file` is the template where it is not in the configuration's `text`.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ChatTemplate>> FromConfig(
      const std::string& text, const std::optional<std::string>& file);

  std::unique_ptr<State> state_;
};

}  // namespace baton::text
