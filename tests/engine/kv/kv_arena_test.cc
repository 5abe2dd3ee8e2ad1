#include "engine/kv/kv_arena.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::engine {
namespace {

std::unique_ptr<kernels::Backend> Backend() {
  auto backend = kernels::CreateCpuBackend({.compute = kernels::ComputeClass::kF32, .threads = 1});
  REQUIRE(backend.ok());
  return *std::move(backend);
}

TEST_CASE("a block's bytes are keys and values of 16 tokens") {
  const KvGeometry geometry{
      .layers = 3, .blocks = 5, .kv_heads = 2, .head_dim = 8, .dtype = kernels::DType::kBF16};

  CHECK(geometry.BlockBytes() == 2 * 2 * 16 * 8 * 2);
  CHECK(geometry.TokenBytes() == 3 * 2 * 2 * 8 * 2);
  CHECK(geometry.TotalBytes() == 3 * 5 * geometry.BlockBytes());
  CHECK(BlocksFor(0, kBlockTokens) == 0);
  CHECK(BlocksFor(16, kBlockTokens) == 1);
  CHECK(BlocksFor(17, kBlockTokens) == 2);
}

TEST_CASE("an arena's layers follow each other in one zeroed region") {
  const auto backend = Backend();

  const auto arena = KvArena::Create(*backend, {.layers = 3, .blocks = 5, .kv_heads = 2, .head_dim = 8});

  REQUIRE(arena.ok());
  REQUIRE(arena->Parts().size() == 1);
  const MemoryRegion region = arena->Parts().front();
  CHECK(region.bytes >= arena->Geometry().TotalBytes());
  for (int layer = 0; layer < 3; ++layer) {
    CHECK(arena->Layer(layer).base == region.address + arena->Geometry().LayerBytes() * layer);
    CHECK(arena->Layer(layer).BlockBytes() == arena->Geometry().BlockBytes());
  }
  CHECK(std::to_integer<int>(region.address[arena->Geometry().TotalBytes() - 1]) == 0);
}

TEST_CASE("a geometry that no machine has is refused") {
  const auto backend = Backend();
  const auto code = [&](const KvGeometry& geometry) {
    return KvArena::Create(*backend, geometry).status().code();
  };

  CHECK(code({.layers = 0, .blocks = 5, .kv_heads = 2, .head_dim = 8}) == kInvalidArgument);
  CHECK(code({.layers = 1, .blocks = -5, .kv_heads = 2, .head_dim = 8}) == kInvalidArgument);
  CHECK(code({.layers = 1 << 20, .blocks = std::int64_t{1} << 31, .kv_heads = 1024, .head_dim = 1024}) ==
        kResourceExhausted);
}

}  // namespace
}  // namespace baton::engine
