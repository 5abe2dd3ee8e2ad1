#pragma once

#include <cstddef>
#include <cstdint>

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

/// One contiguous KV memory; registered with the transport as a whole. Owns the bytes, not who uses which
/// block.
class KvArena {
 public:
  [[nodiscard]] static absl::StatusOr<KvArena> Create(kernels::Backend& backend, const KvGeometry& geometry);
  [[nodiscard]] const KvGeometry& Geometry() const { return geometry_; }
  [[nodiscard]] const MemoryRegion& Region() const { return region_; }
  /// Of all ranks': rank r's layer l is number r * layers + l.
  [[nodiscard]] kernels::KvLayer Layer(int layer) const;
  /// One rank's part, as an arena of a single rank. Lives no longer than this one.
  [[nodiscard]] KvArena OfRank(int rank) const;
  /// Copies all layers of one block into another; on any thread. `copier`: of an arena in a device's memory,
  /// whose failure is the one there is.
  [[nodiscard]] absl::Status CopyBlock(BlockIndex from, BlockIndex to, DeviceCopier* copier) const;
  /// Copies within the arena, or between it and the host; complete when it returns. Host memory on any
  /// thread, a device's on the one that computes.
  void Copy(std::byte* to, const std::byte* from, std::size_t bytes) const;

 private:
  KvArena(kernels::Buffer buffer, const KvGeometry& geometry, kernels::Backend& backend)
      : backend_(&backend), buffer_(std::move(buffer)), region_(buffer_.Region()), geometry_(geometry) {}
  KvArena(const MemoryRegion& region, const KvGeometry& geometry, kernels::Backend& backend)
      : backend_(&backend), region_(region), geometry_(geometry) {}
  kernels::Backend* backend_;  // outlives what copies
  kernels::Buffer buffer_;     // empty: another arena's
  MemoryRegion region_;
  KvGeometry geometry_;
};

}  // namespace baton::engine
