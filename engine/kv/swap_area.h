#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <absl/status/statusor.h>

#include "engine/kv/block_pool.h"
#include "engine/kv/kv_arena.h"

namespace baton::engine {

/// Host memory for the KV of preempted sequences: slots of one block over all layers, contiguous. Owns the
/// bytes; who uses which slot is a `BlockPool`'s business, as with the arena. The operating system gives the
/// pages at their first use, so that an area that is never needed costs address space alone.
class SwapArea {
 public:
  /// As many slots as `bytes` hold. ResourceExhausted where the machine does not have them.
  [[nodiscard]] static absl::StatusOr<SwapArea> Create(const KvGeometry& geometry, std::uint64_t bytes);
  [[nodiscard]] std::int64_t Slots() const { return slots_; }
  /// Of one block, all layers.
  [[nodiscard]] std::size_t SlotBytes() const { return slot_bytes_; }
  /// The first `count` blocks of `blocks` to the first slots, or back.
  void CopyOut(const KvArena& arena, const BlockTable& blocks, const BlockTable& slots, std::int64_t count);
  void CopyIn(const KvArena& arena, const BlockTable& blocks, const BlockTable& slots,
              std::int64_t count) const;

 private:
  SwapArea(std::size_t slot_bytes, std::int64_t slots, std::unique_ptr<std::byte[]> memory)
      : slot_bytes_(slot_bytes), slots_(slots), memory_(std::move(memory)) {}

  std::size_t slot_bytes_;
  std::int64_t slots_;
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace baton::engine
