#include "engine/kv/kv_arena.h"

#include <cstring>
#include <limits>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::engine {
namespace {

// 1 PiB: more than any machine has, and small enough that no product of the bounds below overflows.
constexpr double kMaxArenaBytes = 0x1p50;

}  // namespace

std::size_t KvGeometry::BlockBytes() const {
  return std::size_t{2} * static_cast<std::size_t>(kv_heads) * static_cast<std::size_t>(block_tokens) *
         static_cast<std::size_t>(head_dim) * kernels::SizeOf(dtype);
}

std::size_t KvGeometry::TokenBytes() const {
  return BlockBytes() / static_cast<std::size_t>(block_tokens) * static_cast<std::size_t>(RankLayers());
}

absl::StatusOr<KvArena> KvArena::Create(kernels::Backend& backend, const KvGeometry& geometry) {
  if (geometry.layers <= 0 || geometry.blocks <= 0 || geometry.kv_heads <= 0 || geometry.head_dim <= 0 ||
      geometry.block_tokens <= 0 || geometry.ranks <= 0) {
    return Error(
        kInvalidArgument,
        "KV arena: layers {}, blocks {}, kv_heads {}, head_dim {}, block_tokens {} and ranks {} must "
        "all be positive",
        geometry.layers, geometry.blocks, geometry.kv_heads, geometry.head_dim, geometry.block_tokens,
        geometry.ranks);
  }
  const double bytes = 2.0 * geometry.block_tokens * geometry.layers * geometry.ranks *
                       static_cast<double>(geometry.blocks) * geometry.kv_heads * geometry.head_dim *
                       static_cast<double>(kernels::SizeOf(geometry.dtype));
  if (bytes > kMaxArenaBytes || geometry.blocks > std::numeric_limits<std::uint32_t>::max()) {
    return Error(kResourceExhausted, "KV arena: {} blocks of {} layers are more than a machine can hold",
                 geometry.blocks, geometry.layers);
  }
  auto buffer = backend.Allocate(geometry.TotalBytes());
  if (!buffer.ok()) return Annotate(buffer.status(), "KV arena");
  return KvArena(*std::move(buffer), geometry, backend);
}

kernels::KvLayer KvArena::Layer(int layer) const {
  BATON_CHECK(layer >= 0 && layer < geometry_.RankLayers(), "layer {} of {}", layer, geometry_.RankLayers());
  return {.base = region_.address + geometry_.LayerBytes() * static_cast<std::size_t>(layer),
          .dtype = geometry_.dtype,
          .kv_heads = geometry_.kv_heads,
          .head_dim = geometry_.head_dim,
          .block_tokens = geometry_.block_tokens};
}

KvArena KvArena::OfRank(int rank) const {
  KvGeometry geometry = geometry_;
  geometry.ranks = 1;
  MemoryRegion region = region_;
  region.address = Layer(rank * geometry_.layers).base;
  region.bytes = geometry.TotalBytes();
  return {region, geometry, *backend_};
}

absl::Status KvArena::CopyBlock(BlockIndex from, BlockIndex to, DeviceCopier* copier) const {
  BATON_CHECK(from.value < geometry_.blocks && to.value < geometry_.blocks && from != to,
              "block {} to {} of {}", from.value, to.value, geometry_.blocks);
  const std::size_t bytes = geometry_.BlockBytes();
  std::vector<DeviceCopier::Move> moves;
  for (int layer = 0; layer < geometry_.RankLayers(); ++layer) {
    std::byte* base = Layer(layer).base;
    moves.push_back({.to = base + to.value * bytes, .from = base + from.value * bytes, .bytes = bytes});
  }
  if (copier != nullptr) return copier->CopyWithin(moves);
  for (const DeviceCopier::Move& move : moves) std::memcpy(move.to, move.from, move.bytes);
  return absl::OkStatus();
}

void KvArena::Copy(std::byte* to, const std::byte* from, std::size_t bytes) const {
  if (Region().kind == MemoryKind::kDevice) return backend_->Copy(to, from, bytes);
  std::memcpy(to, from, bytes);
}

}  // namespace baton::engine
