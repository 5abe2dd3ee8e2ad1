#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"
#include "router/messages.h"

namespace baton::router {

/// What the router knows of the model that it serves. Immutable; shared by all threads.
struct ModelInfo {
  std::string name;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<text::ChatTemplate> chat_template;  // null where the model has none: chats are then refused
  std::int64_t context_tokens =
      0;                         // max_position_embeddings of config.json; less where the tokenizer says so
  std::vector<TokenId> end_ids;  // eos_token_id of generation_config.json, else of config.json
  SamplingParameters defaults;   // where the client is silent: generation_config.json, else OpenAI's
};

/// Reads the Hugging Face directory.
[[nodiscard]] absl::StatusOr<std::unique_ptr<const ModelInfo>> LoadModelInfo(const std::string& directory,
                                                                             std::string name);

}  // namespace baton::router
