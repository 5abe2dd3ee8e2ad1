#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <absl/container/inlined_vector.h>
#include <absl/status/statusor.h>

#include "common/base/device_copier.h"
#include "common/base/ids.h"
#include "common/base/memory_region.h"
#include "kernels/backend.h"

namespace baton::engine {

/// Positions that one KV block holds where nothing else is said (`kv.block_tokens`).
/// A block is the unit of sharing and of the grants.
inline constexpr int kBlockTokens = 16;

/// Blocks that `tokens` positions need.
[[nodiscard]] constexpr std::int64_t BlocksFor(std::int64_t tokens, std::int64_t block_tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

/// Shape of a worker's KV memory. Layout: [rank][layer][block][k|v][kv_head][token][dim].
struct KvGeometry {
  int layers = 0;
  std::int64_t blocks = 0;
  int kv_heads = 0;  // of one rank
  int head_dim = 0;
  kernels::DType dtype = kernels::DType::kF32;
  int block_tokens = kBlockTokens;
  int ranks = 1;

  /// Layers of all ranks.
  [[nodiscard]] int RankLayers() const { return layers * ranks; }
  [[nodiscard]] std::size_t BlockBytes() const;  // of one block of one rank in one layer
  [[nodiscard]] std::size_t LayerBytes() const { return BlockBytes() * static_cast<std::size_t>(blocks); }
  [[nodiscard]] std::size_t TotalBytes() const {
    return LayerBytes() * static_cast<std::size_t>(RankLayers());
  }
  /// Bytes that one token's KV takes over all layers of all ranks.
  [[nodiscard]] std::size_t TokenBytes() const;
};

/// KV memory: of one piece, or of ranks on devices of their own one piece each. Owns the bytes, not who uses
/// which block.
class KvArena {
 public:
  [[nodiscard]] static absl::StatusOr<KvArena> Create(kernels::Backend& backend, const KvGeometry& geometry);
  /// Where the ranks' backends are devices, each rank's part lies in its own; else all in the first's.
  [[nodiscard]] static absl::StatusOr<KvArena> Create(
      std::span<const std::unique_ptr<kernels::Backend>> ranks, const KvGeometry& geometry);
  [[nodiscard]] const KvGeometry& Geometry() const { return geometry_; }
  /// Of all of it, or of each rank's part.
  [[nodiscard]] std::vector<MemoryRegion> Parts() const;
  /// Of all ranks': rank r's layer l is number r * layers + l.
  [[nodiscard]] kernels::KvLayer Layer(int layer) const;
  /// One rank's part, as an arena of a single rank. Lives no longer than this one.
  [[nodiscard]] KvArena OfRank(int rank) const;
  /// The way of hand-offs to devices' memory, whichever part it is of; null where the host reads it.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<DeviceCopier>> CreateCopier() const;
  /// Copies all layers of one block into another; on any thread. `copier`: of an arena in a device's memory,
  /// whose failure is the one there is.
  [[nodiscard]] absl::Status CopyBlock(BlockIndex from, BlockIndex to, DeviceCopier* copier) const;
  /// Copies within the arena, or between it and the host; complete when it returns. Host memory on any
  /// thread, a device's on the one that computes.
  void Copy(std::byte* to, const std::byte* from, std::size_t bytes) const;

 private:
  struct Part {
    kernels::Backend* backend;  // outlives what copies
    kernels::Buffer buffer;     // empty: another arena's
    MemoryRegion region;
  };
  using PartList = absl::InlinedVector<Part, 1>;  // a step makes arenas of one part: not on the heap
  KvArena(PartList parts, const KvGeometry& geometry) : parts_(std::move(parts)), geometry_(geometry) {}
  [[nodiscard]] static absl::StatusOr<KvArena> CreateOn(std::span<kernels::Backend* const> backends,
                                                        const KvGeometry& geometry);
  [[nodiscard]] std::size_t PartOf(int layer) const {
    return static_cast<std::size_t>(layer) * parts_.size() / static_cast<std::size_t>(geometry_.RankLayers());
  }

  PartList parts_;  // one, or one for each rank
  KvGeometry geometry_;
};

}  // namespace baton::engine
