#pragma once

#include <cstddef>
#include <cstdint>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "common/base/memory_region.h"
#include "kernels/backend.h"

namespace baton::engine {

/// Positions that one KV block holds.
/// A run of 16 tokens is the unit of sharing and of the grants.
inline constexpr int kBlockTokens = 16;

/// Blocks that `tokens` positions need.
[[nodiscard]] constexpr std::int64_t BlocksFor(std::int64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

/// Shape of a worker's KV memory. Layout: [layer][block][k|v][kv_head][token][dim].
struct KvGeometry {
  int layers = 0;
  std::int64_t blocks = 0;
  int kv_heads = 0;
  int head_dim = 0;
  kernels::DType dtype = kernels::DType::kF32;

  [[nodiscard]] std::size_t BlockBytes() const;  // of one block in one layer
  [[nodiscard]] std::size_t LayerBytes() const { return BlockBytes() * static_cast<std::size_t>(blocks); }
  [[nodiscard]] std::size_t TotalBytes() const { return LayerBytes() * static_cast<std::size_t>(layers); }
  /// Bytes that one token's KV takes over all layers.
  [[nodiscard]] std::size_t TokenBytes() const;
};

/// One contiguous KV memory; registered with the transport as a whole. Owns the bytes, not who uses which
/// block.
class KvArena {
 public:
  [[nodiscard]] static absl::StatusOr<KvArena> Create(kernels::Backend& backend, const KvGeometry& geometry);
  [[nodiscard]] const KvGeometry& Geometry() const { return geometry_; }
  [[nodiscard]] const MemoryRegion& Region() const { return buffer_.Region(); }
  [[nodiscard]] kernels::KvLayer Layer(int layer) const;
  /// Copies all layers of one block into another.
  void CopyBlock(BlockIndex from, BlockIndex to) const;
  /// Copies within the arena, or between it and the host; complete when it returns. Host memory on any
  /// thread, a device's on the one that computes.
  void Copy(std::byte* to, const std::byte* from, std::size_t bytes) const;

 private:
  KvArena(kernels::Buffer buffer, const KvGeometry& geometry, kernels::Backend& backend)
      : backend_(&backend), buffer_(std::move(buffer)), geometry_(geometry) {}
  kernels::Backend* backend_;  // outlives what copies
  kernels::Buffer buffer_;
  KvGeometry geometry_;
};

}  // namespace baton::engine
