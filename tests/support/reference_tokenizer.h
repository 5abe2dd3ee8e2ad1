#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace baton::test {

/// Byte-pair encoding as the definition says it, in plain loops over strings, quadratic and worse: what the
/// tokenizer of common/text is compared with. It shares nothing with that but JSON, and knows two kinds of
/// tokenizer.json: byte-level with the split pattern of Llama 3 or Qwen 2 (and NFC), and Llama 2's.
class ReferenceTokenizer {
 public:
  /// The file must be one of these.
  explicit ReferenceTokenizer(std::string_view tokenizer_json);

  /// The ids of `text`, valid UTF-8, without the post-processor's.
  [[nodiscard]] std::vector<TokenId> Encode(std::string_view text) const;
  /// The texts of all added tokens.
  [[nodiscard]] std::vector<std::string> AddedTexts() const;

 private:
  void EncodePiece(const std::string& piece, std::vector<TokenId>& ids) const;
  [[nodiscard]] std::vector<TokenId> Merged(std::vector<std::string> symbols) const;
  [[nodiscard]] std::vector<std::string> ByteSymbols(const std::string& word) const;
  [[nodiscard]] std::vector<std::string> CharacterSymbols(const std::string& word) const;

  std::map<std::string, TokenId> vocabulary_;
  std::map<std::pair<std::string, std::string>, std::size_t> ranks_;
  std::map<std::string, TokenId> added_;
  bool byte_level_ = false;
  bool nfc_ = false;
  bool ignore_merges_ = false;
  std::size_t digits_ = 1;  // of a number that make one word
};

}  // namespace baton::test
