#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"

namespace baton::text {

/// `left` and `right` beside each other become `result`. Its rank is its place in the list: lower goes first.
struct Merge {
  TokenId left = 0;
  TokenId right = 0;
  TokenId result = 0;
};

/// Byte-pair encoding of one word at a time. Immutable; safe to share between threads.
class Bpe {
 public:
  /// Working memory of `Append`, kept from word to word.
  class Scratch;

  explicit Bpe(const std::vector<Merge>& merges);

  /// Appends what becomes of the tokens that a word begins as: of all pairs that may merge, the lowest rank
  /// first, the leftmost of equals. O(n log n) in their number.
  void Append(std::span<const TokenId> word, Scratch& scratch, std::vector<TokenId>& ids) const;

 private:
  struct Rule {
    std::uint32_t rank = 0;
    TokenId result = 0;
  };
  void Consider(std::uint32_t at, Scratch& scratch) const;
  [[nodiscard]] const Rule* FindRule(TokenId left, TokenId right) const;

  absl::flat_hash_map<std::uint64_t, Rule> rules_;
};

class Bpe::Scratch {
 private:
  friend class Bpe;
  static constexpr std::uint32_t kNone = UINT32_MAX;

  /// A token of the word so far; a list, so that a merge moves nothing.
  struct Symbol {
    TokenId id = 0;
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    bool merged_away = false;
  };
  /// A merge that was possible when it was noted; checked again when its turn comes.
  struct Candidate {
    std::uint64_t rank_and_place = 0;  // rank in the upper half: order by rank, then from left to right
    TokenId result = 0;
  };

  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

}  // namespace baton::text
