#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"

namespace baton::engine {

/// The blocks of one sequence in order of position.
using BlockTable = std::vector<BlockIndex>;

struct PoolCounts {
  std::int64_t total = 0;
  std::int64_t free = 0;
  std::int64_t used = 0;
  std::int64_t quarantined = 0;
  std::int64_t cached = 0;  // held by nobody but the prefix cache, which gives them up on demand
};

/// Who may use which block of the KV arena: reference counts and contiguous groups. Control thread only.
/// A block is free, used (count >= 1) or quarantined: given up by its owner while a peer may still write into
/// it.
class BlockPool {
 public:
  explicit BlockPool(std::int64_t block_count);

  /// `count` blocks with one reference each, as few contiguous runs as there are: the smallest free run that
  /// holds all of them, else the largest runs first. All or nothing; ResourceExhausted says wanted and free.
  [[nodiscard]] absl::StatusOr<BlockTable> Allocate(std::int64_t count);
  /// One more reference on each.
  void Retain(const BlockTable& blocks);
  /// One reference less on each; a block without references is free.
  void Release(const BlockTable& blocks);
  /// Takes the only reference of each block and keeps it out of use until `EndQuarantine`.
  void Quarantine(const BlockTable& blocks);
  void EndQuarantine(const BlockTable& blocks);
  /// Marks one of the block's references as the prefix cache's, or no longer.
  void SetCached(BlockIndex block, bool cached);
  [[nodiscard]] bool Cached(BlockIndex block) const { return cached_.at(block.value); }
  /// 0 where the block is free or in quarantine.
  [[nodiscard]] std::int32_t References(BlockIndex block) const;
  [[nodiscard]] PoolCounts Counts() const;

 private:
  [[nodiscard]] std::vector<BlockRun> ChooseRuns(std::uint32_t count) const;
  void AddFreeRun(std::uint32_t first, std::uint32_t count);
  void TakeFreeRun(std::uint32_t first, std::uint32_t count, BlockTable& out);

  std::vector<std::int32_t> references_;              // per block; kQuarantined = -1
  std::vector<bool> cached_;                          // per block: one reference is the prefix cache's
  std::map<std::uint32_t, std::uint32_t> free_runs_;  // first -> count, never adjacent
  std::int64_t free_ = 0;
  std::int64_t quarantined_ = 0;
  std::int64_t cached_alone_ = 0;  // cached, and nobody else's
};

/// `blocks` as maximal contiguous runs, in order.
[[nodiscard]] std::vector<BlockRun> Runs(const BlockTable& blocks);

}  // namespace baton::engine
