#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/json/value.h"
#include "common/text/added_tokens.h"
#include "common/text/bpe.h"
#include "common/text/regex_split.h"
#include "common/text/sentencepiece.h"
#include "common/text/split.h"

namespace baton::text {

/// The `model` of a tokenizer.json: every id is checked, every merge refers to tokens that exist.
struct ModelSpec {
  std::vector<std::pair<std::string, TokenId>> vocabulary;  // byte-level: in that spelling
  std::array<TokenId, 256> byte_tokens{};                   // byte-level
  CharacterTokens::Options characters;                      // SentencePiece
  std::vector<Merge> merges;
  bool ignore_merges = false;  // a word that is a token is that token
};

/// One cut into words: by a pattern written out by hand, or by PCRE2.
using Splitter = std::variant<SplitPattern, std::shared_ptr<const RegexSplit>>;

/// All that a tokenizer.json says about encoding and decoding, checked.
struct TokenizerSpec {
  ModelSpec model;
  std::vector<AddedToken> added;
  std::optional<SentencePieceSpec> sentencepiece;  // else byte-level
  bool nfc = false;
  std::vector<Splitter> splits;  // each splits the words of the one before
  bool add_prefix_space = false;
  std::vector<TokenId> before;  // special tokens of the post-processor's template
  std::vector<TokenId> after;
  bool has_template = false;  // of the post-processor
};

/// Reads the whole file. Errors name the file and the field.
[[nodiscard]] absl::StatusOr<TokenizerSpec> ParseTokenizerSpec(const json::Value& file);

/// Reads `model` alone: of a byte-level vocabulary, or one in the manner of SentencePiece.
[[nodiscard]] absl::StatusOr<ModelSpec> ParseModelSpec(const json::Value& file, bool sentencepiece);

/// An id within the bounds of this project: 0 to `kMaxTokenId`.
[[nodiscard]] absl::StatusOr<TokenId> ParseTokenId(std::string_view field, const json::Value* value);

// 1 M tokens is four times the largest vocabulary in use; ids may have gaps but tables are as long as the
// largest.
inline constexpr std::size_t kMaxVocabulary = 1'000'000;
inline constexpr TokenId kMaxTokenId = 2'000'000;

}  // namespace baton::text
