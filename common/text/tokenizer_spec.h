#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/json/value.h"
#include "common/text/added_tokens.h"
#include "common/text/bpe.h"
#include "common/text/character_tokens.h"
#include "common/text/normalizer.h"
#include "common/text/pre_tokenizer.h"
#include "common/text/token_decoder.h"

namespace baton::text {

/// The `model` of a tokenizer.json: every id is checked, every merge refers to tokens that exist.
struct ModelSpec {
  std::vector<std::pair<std::string, TokenId>> vocabulary;
  std::optional<std::array<TokenId, 256>> byte_tokens;  // where every byte has one, as ByteLevel spells it
  CharacterTokens::Options characters;
  std::vector<Merge> merges;
  bool ignore_merges = false;  // a word that is a token is that token
};

/// All that a tokenizer.json says about encoding and decoding, checked.
struct TokenizerSpec {
  ModelSpec model;
  std::vector<AddedToken> added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder;
  std::vector<TokenId> before;  // special tokens of the post-processor's template
  std::vector<TokenId> after;
  bool has_template = false;               // of the post-processor
  std::optional<std::int64_t> tokens_max;  // of the file's `truncation`
};

/// Reads the whole file. Errors name the file and the field.
[[nodiscard]] absl::StatusOr<TokenizerSpec> ParseTokenizerSpec(const json::Value& file);

/// Reads `model` alone.
[[nodiscard]] absl::StatusOr<ModelSpec> ParseModelSpec(const json::Value& file);

/// An id within the bounds of this project: 0 to `kMaxTokenId`.
[[nodiscard]] absl::StatusOr<TokenId> ParseTokenId(std::string_view field, const json::Value* value);

// 1 M tokens is four times the largest vocabulary in use; ids may have gaps but tables are as long as the
// largest.
inline constexpr std::size_t kMaxVocabulary = 1'000'000;
inline constexpr TokenId kMaxTokenId = 2'000'000;
// Longer contents serve nothing and would make the search for them slow.
inline constexpr std::size_t kMaxAddedTokenBytes = 1024;

}  // namespace baton::text
