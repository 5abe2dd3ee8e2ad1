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
  /// first, the leftmost of equals. O(n log n) in their number; O(n) but for sorting where words are long.
  void Append(std::span<const TokenId> word, Scratch& scratch, std::vector<TokenId>& ids) const;

 private:
  struct Rule {
    std::uint32_t rank = 0;
    TokenId result = 0;
  };
  template <typename Queue>
  void MergeAll(Scratch& scratch, Queue& queue) const;
  [[nodiscard]] const Rule* FindRule(TokenId left, TokenId right) const;

  absl::flat_hash_map<std::uint64_t, Rule> rules_;
  std::vector<TokenId> results_;  // by rank
};

class Bpe::Scratch {
 public:
  /// Pairs that were looked at, in all words so far.
  [[nodiscard]] std::uint64_t Steps() const { return steps_; }

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
  /// A merge that was possible when it was noted; looked at again when its turn comes.
  struct Candidate {
    std::uint32_t rank = 0;
    std::uint32_t place = 0;  // of its left token
  };

  /// Candidates by rank and place in one heap: best for the few of an ordinary word.
  class Heap {
   public:
    void Clear() { entries_.clear(); }
    void Push(Candidate candidate);
    bool Pop(Candidate& candidate);

   private:
    std::vector<std::uint64_t> entries_;  // rank, then place
  };

  /// A list of places for each rank, and a heap of the ranks: best for a million candidates of a few ranks.
  /// While the places of a rank are taken none is added to them: what merging makes is longer than the pairs
  /// of that rank. Should it happen all the same, they are sorted again.
  class Buckets {
   public:
    void Clear();
    void Push(Candidate candidate);
    bool Pop(Candidate& candidate);

   private:
    struct Bucket {
      std::vector<std::uint32_t> places;
      std::size_t taken = 0;
      bool in_order = true;
    };
    absl::flat_hash_map<std::uint32_t, Bucket> buckets_;  // by rank
    std::vector<std::uint32_t> ranks_;                    // a heap, of the buckets that are not empty
  };

  std::vector<Symbol> symbols_;
  Heap heap_;
  Buckets buckets_;
  std::uint64_t steps_ = 0;
};

}  // namespace baton::text
