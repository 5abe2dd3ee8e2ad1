#include "engine/kv/swap_area.h"

#include <new>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::engine {
namespace {

/// Calls `copy(in the arena, in the slots' memory, bytes)` for each piece of the blocks.
template <typename Copy>
void ForEachPiece(const KvArena& arena, const BlockTable& blocks, const BlockTable& slots, std::int64_t count,
                  std::size_t slot_bytes, Copy copy) {
  BATON_CHECK(count <= std::ssize(blocks) && count <= std::ssize(slots), "{} blocks of {} in {} slots", count,
              blocks.size(), slots.size());
  const std::size_t bytes = arena.Geometry().BlockBytes();
  for (int layer = 0; layer < arena.Geometry().RankLayers(); ++layer) {
    std::byte* base = arena.Layer(layer).base;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      copy(base + blocks[i].value * bytes,
           slots[i].value * slot_bytes + static_cast<std::size_t>(layer) * bytes, bytes);
  }
}

}  // namespace

absl::StatusOr<SwapArea> SwapArea::Create(const KvGeometry& geometry, std::uint64_t bytes) {
  const std::size_t slot_bytes = geometry.BlockBytes() * static_cast<std::size_t>(geometry.RankLayers());
  const auto slots = static_cast<std::int64_t>(bytes / slot_bytes);
  const std::size_t size = static_cast<std::size_t>(slots) * slot_bytes;
  std::unique_ptr<std::byte[]> memory(new (std::nothrow) std::byte[size]);  // left as it is: see the class
  if (memory == nullptr)
    return Error(kResourceExhausted, "kv.swap: {} bytes of host memory cannot be had; say less", size);
  return SwapArea(slot_bytes, slots, std::move(memory));
}

void SwapArea::CopyOut(const KvArena& arena, const BlockTable& blocks, const BlockTable& slots,
                       std::int64_t count) {
  ForEachPiece(arena, blocks, slots, count, slot_bytes_,
               [&](const std::byte* block, std::size_t at, std::size_t bytes) {
                 arena.Copy(memory_.get() + at, block, bytes);
               });
}

void SwapArea::CopyIn(const KvArena& arena, const BlockTable& blocks, const BlockTable& slots,
                      std::int64_t count) const {
  ForEachPiece(arena, blocks, slots, count, slot_bytes_,
               [&](std::byte* block, std::size_t at, std::size_t bytes) {
                 arena.Copy(block, memory_.get() + at, bytes);
               });
}

}  // namespace baton::engine
