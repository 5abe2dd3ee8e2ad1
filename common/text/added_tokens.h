#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"
#include "common/text/effort.h"

namespace baton::text {

/// A token that is found in the text before it is split into words: an end-of-turn mark, say.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // not where a word character stands beside it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = true;    // looked for after normalisation, not before
  bool special = false;      // left out of decoded text on demand
};

/// Finds added tokens: the leftmost, the longest of those; of equal contents a special one, then the first.
/// Immutable; safe to share between threads.
class AddedTokenFinder {
 public:
  /// A piece of the text: one added token, or text without any.
  struct Piece {
    std::string_view text;
    const AddedToken* token = nullptr;  // null for text
  };

  /// Of each token, `content` is what is looked for; it must not be empty.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// Hands out the pieces of `text`, which is valid UTF-8, in order; none is empty. A token in the white
  /// space that the one before it took along is found all the same, as the tokenizers library finds it: that
  /// white space then comes twice. O(length of the text * length of the longest token) at worst, in practice
  /// linear.
  void Cut(std::string_view text, Effort& effort, const std::function<void(const Piece&)>& visit) const;

 private:
  [[nodiscard]] const AddedToken* LongestAt(std::string_view text, std::size_t at, Effort& effort) const;

  std::vector<AddedToken> tokens_;
  std::bitset<256> first_bytes_;
  absl::flat_hash_map<std::uint64_t, std::uint32_t> edges_;  // (node, byte) to node; 0 is the root
  std::vector<std::int32_t> token_at_node_;                  // index into tokens_, or -1
};

}  // namespace baton::text
