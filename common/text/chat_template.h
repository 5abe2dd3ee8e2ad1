#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/json/value.h"

namespace baton::text {

/// What a template sees. `messages` is an array of objects with "role" and "content"; `extra` holds further
/// variables.
struct ChatInput {
  json::Array messages = {};
  bool add_generation_prompt = true;
  json::Object extra = {};
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
  /// From `directory`/tokenizer_config.json. NotFound where it has no `chat_template`.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ChatTemplate>> Load(const std::string& directory);

  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;
  ~ChatTemplate();

  /// The prompt's text. InvalidArgument with the template's own words where it calls raise_exception.
  [[nodiscard]] absl::StatusOr<std::string> Render(const ChatInput& input) const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace baton::text
