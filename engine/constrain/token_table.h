#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/text/tokenizer.h"

namespace baton::engine {

/// The bytes of a vocabulary as a trie, laid out depth first: a walk is a loop. Special tokens, and tokens
/// without bytes, are not in it. Immutable, safe to share between threads; made once a model.
class TokenTable {
  struct Key {};

 public:
  /// For the factories below: nobody else can name a key.
  explicit TokenTable(Key) {}
  /// Printable ASCII but for '"' and '\\': what a string of JSON may have anywhere.
  [[nodiscard]] static bool IsPlain(std::uint8_t byte) {
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
  }
  static constexpr std::uint8_t kNotPlain = 255;
  struct Entry {
    std::uint8_t byte = 0;
    /// Bytes of the longest way down from here, this one included, where all of them are plain; else
    /// `kNotPlain`.
    std::uint8_t plain_height = kNotPlain;
    std::uint16_t depth = 0;   // bytes before this one
    std::uint32_t after = 0;   // the entry behind everything below this one
    std::uint32_t tokens = 0;  // the first of the tokens that end here; the next entry's is behind the last
  };

  /// InvalidArgument where the vocabulary cannot write every byte of ASCII text: an answer could then be
  /// stuck. Without a token for each single byte of longer characters, only tokens of whole characters are
  /// taken.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<const TokenTable>> FromTokenizer(
      const text::Tokenizer& tokenizer);
  /// The same from each token's bytes, by id; empty ones are left out.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<const TokenTable>> FromBytes(
      std::span<const std::string_view> tokens);

  [[nodiscard]] const std::vector<Entry>& Entries() const { return entries_; }  // the last is a sentinel
  [[nodiscard]] const std::vector<TokenId>& Tokens() const { return tokens_; }
  /// Those with at least `least` '"' among their bytes, 1 to 3.
  [[nodiscard]] std::span<const TokenId> TokensWithQuotes(std::size_t least) const {
    return std::span(with_quotes_).first(quotes_ends_[least - 1]);
  }
  /// The bytes of a token; empty: never allowed.
  [[nodiscard]] std::string_view BytesOf(TokenId token) const;
  [[nodiscard]] std::int32_t VocabularySize() const { return static_cast<std::int32_t>(begins_.size()) - 1; }
  [[nodiscard]] int DepthMax() const { return depth_max_; }

 private:
  void Build();
  void SetPlainHeights();
  void CollectQuotes();

  std::vector<Entry> entries_;
  std::vector<TokenId> tokens_;
  std::vector<TokenId> with_quotes_;             // those with most first
  std::array<std::size_t, 3> quotes_ends_ = {};  // where those with 1, 2, 3 and more end
  std::string bytes_;                            // of all tokens
  std::vector<std::uint32_t> begins_;            // [vocabulary + 1], in bytes_
  int depth_max_ = 0;
};

}  // namespace baton::engine
