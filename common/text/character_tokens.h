#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"

namespace baton::text {

/// The tokens that the merging of a word begins with, where it is not made of plain bytes: one for each
/// character; byte tokens or the unknown token for what has none. Immutable; safe to share between threads.
class CharacterTokens {
 public:
  struct Options {
    bool byte_fallback = false;
    std::optional<TokenId> unknown;
    bool fuse_unknown = false;      // neighbours become one
    std::string continuing_prefix;  // of every character but a word's first
    std::string end_suffix;         // of its last
  };
  CharacterTokens() = default;
  CharacterTokens(const std::vector<std::pair<std::string, TokenId>>& vocabulary, const Options& options);
  /// Appends one token for each character of `word`, valid UTF-8, that has one; else its bytes' tokens; else
  /// the unknown token; else nothing.
  void Append(std::string_view word, std::vector<TokenId>& tokens) const;

 private:
  /// Where in a word a character stands.
  struct Place {
    bool continuing = false;
    bool last = false;
    [[nodiscard]] std::size_t Index() const { return (continuing ? 1U : 0U) + (last ? 2U : 0U); }
  };
  [[nodiscard]] std::optional<TokenId> Find(char32_t code, Place place) const;
  /// Whether the bytes of `character` had tokens, which are appended.
  bool AppendBytes(std::string_view character, Place place, std::vector<TokenId>& tokens) const;

  std::array<absl::flat_hash_map<char32_t, TokenId>, 4> characters_;  // by Place
  std::array<TokenId, 256> bytes_{};                                  // -1 = none
  Options options_;
};

}  // namespace baton::text
