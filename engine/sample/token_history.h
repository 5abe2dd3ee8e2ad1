#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"

namespace baton::engine {

/// Which tokens a sequence has, and how often its answer has each: what penalties look at. A function of the
/// token ids alone, so that a worker that takes over a sequence has the same. A token costs O(1) to add.
class TokenHistory {
 public:
  struct Entry {
    TokenId token = 0;
    std::int32_t answered = 0;  // times in the answer; 0: only in the prompt
  };
  void AddPrompt(std::span<const TokenId> tokens);
  void AddAnswer(TokenId token) { ++EntryOf(token).answered; }
  /// Each token that has come, once.
  [[nodiscard]] std::span<const Entry> Entries() const { return entries_; }

 private:
  Entry& EntryOf(TokenId token);

  std::vector<Entry> entries_;
  absl::flat_hash_map<TokenId, std::size_t> index_;
};

}  // namespace baton::engine
