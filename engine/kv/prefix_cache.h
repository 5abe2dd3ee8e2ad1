#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_arena.h"

namespace baton::engine {

/// Since the start.
struct PrefixCounts {
  std::int64_t blocks = 0;         // in the cache now
  std::int64_t hits = 0;           // prompts of which something was here
  std::int64_t misses = 0;         // prompts of which nothing was
  std::int64_t tokens_reused = 0;  // of the hits
  std::int64_t evictions = 0;      // blocks
  std::int64_t pinned = 0;         // blocks, now
};

/// Which blocks go last.
struct PinOptions {
  std::int64_t hits = 0;        // a block that so many prompts have found is pinned; 0: none is
  std::int64_t blocks_max = 0;  // of pinned ones; the least recently used pin makes way for a new one
};

/// The blocks of a prompt; the first `cached_tokens` positions, whole blocks, hold their KV already.
struct PromptBlocks {
  BlockTable blocks;
  std::int64_t cached_tokens = 0;
};

/// KV of prompts that were computed, kept as long as nobody needs the memory. Control thread only.
///
/// A tree: an entry is one full block under its parent's, a root stands under a salt. An entry is found by
/// the 64-bit name of its prefix, and taken only where parent, salt and all its tokens are equal: a
/// collision, chosen by an attacker even, is a miss and never somebody else's KV. One reference of the pool
/// on each block. Blocks that sequences use are never taken from them; of the others the least recently used
/// goes first, and a parent never before its children. Beginnings that many prompts have in common (system
/// prompts, tools) are pinned by their hits: a stream of prompts that come once does not wash them out. A pin
/// protects against other cached blocks alone: a prompt that needs the memory gets it.
class PrefixCache {
 public:
  /// Keeps at most `blocks_max` blocks. The pool outlives the cache.
  PrefixCache(BlockPool& pool, std::int64_t blocks_max, const PinOptions& pins = {},
              int block_tokens = kBlockTokens);
  ~PrefixCache() { Clear(); }
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  /// Blocks for all of `prompt`, with one reference each for the caller: shared ones for what is here, new
  /// ones for the rest. At least the last token stays to be computed, for its logits. All or nothing;
  /// ResourceExhausted where the pool is short even without the blocks that only the cache holds.
  /// Without `share` all blocks are new: all of the prompt is to be computed.
  [[nodiscard]] absl::StatusOr<PromptBlocks> Allocate(std::string_view salt, std::span<const TokenId> prompt,
                                                      bool share = true);
  /// Blocks for all of `tokens`, whole blocks, whose KV is to be received where it is not here: as Allocate,
  /// but the last ones, too, may be here, pinned blocks stay, and it counts as no lookup.
  [[nodiscard]] absl::StatusOr<PromptBlocks> AllocateToReceive(std::string_view salt,
                                                               std::span<const TokenId> tokens);
  /// Tokens of `prompt` whose KV `Allocate` would find now. Changes nothing.
  [[nodiscard]] std::int64_t CachedTokens(std::string_view salt, std::span<const TokenId> prompt) const;
  /// The KV of all of `prompt` is in `blocks`: keeps its full blocks, beside what the caller holds.
  void Insert(std::string_view salt, std::span<const TokenId> prompt, const BlockTable& blocks);
  /// Lets go of everything.
  void Clear();

  [[nodiscard]] PrefixCounts Counts() const;

 private:
  struct Entry {
    std::uint64_t name = 0;
    Entry* parent = nullptr;
    std::string salt;  // of a root
    std::vector<TokenId> tokens;
    BlockIndex block;
    int children = 0;
    std::int64_t hits = 0;
    std::int64_t last_hit = 0;  // number of the lookup
    bool pinned = false;
    std::list<Entry*>::iterator age;  // in the list of the pinned, or of the others
  };
  using Ages = std::list<Entry*>;  // least recently used first; children before their parents
  using Tokens = std::span<const TokenId>;

  [[nodiscard]] Tokens TokensOf(std::span<const TokenId> prompt, std::int64_t block) const;

  [[nodiscard]] std::vector<Entry*> Find(std::string_view salt, std::span<const TokenId> prompt,
                                         std::int64_t blocks_max) const;
  [[nodiscard]] absl::StatusOr<PromptBlocks> Share(const std::vector<Entry*>& found, std::int64_t total,
                                                   bool take_pinned);
  [[nodiscard]] Entry* FindChild(std::uint64_t name, const Entry* parent, std::string_view salt,
                                 Tokens tokens) const;
  [[nodiscard]] Entry* Add(std::uint64_t name, Entry* parent, std::string_view salt, Tokens tokens,
                           BlockIndex block);
  void Touch(Entry* leaf);
  void CountHit(const std::vector<Entry*>& found);
  [[nodiscard]] bool MakePinRoom();
  [[nodiscard]] std::int64_t PinnedAlone() const;
  std::int64_t Evict(std::int64_t count, bool pinned);
  void Remove(Entry* entry);

  BlockPool& pool_;
  const std::int64_t blocks_max_;
  const PinOptions pins_;
  const std::int64_t block_tokens_;
  std::int64_t lookups_ = 0;
  absl::flat_hash_map<std::uint64_t, std::unique_ptr<Entry>> entries_;  // by name
  Ages ages_;                                                           // of those that are not pinned
  Ages pinned_ages_;
  PrefixCounts counts_;  // but for what is here now
};

}  // namespace baton::engine
