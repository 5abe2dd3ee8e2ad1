#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "common/json/value.h"
#include "common/text/tokenizer_spec.h"

namespace baton::text {

/// What a tokenizer_config.json says beside a tokenizer.json: tokens of its own (`added_tokens_decoder`), the
/// ends of a text (`add_bos_token`, `add_eos_token`), the longest prompt. Returns what it changed of encoding
/// and decoding, as a text for the fingerprint; empty where nothing. Errors name the file and the field.
[[nodiscard]] absl::StatusOr<std::string> ApplyTokenizerConfig(const json::Value& config,
                                                               TokenizerSpec& spec);

}  // namespace baton::text
