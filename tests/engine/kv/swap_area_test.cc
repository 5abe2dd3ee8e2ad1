#include "engine/kv/swap_area.h"

#include <cstring>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::engine {
namespace {

constexpr KvGeometry kGeometry{.layers = 3, .blocks = 12, .kv_heads = 2, .head_dim = 4};

std::byte* Place(const KvArena& arena, int layer, BlockIndex block) {
  return arena.Layer(layer).base + block.value * arena.Geometry().BlockBytes();
}

void Fill(const KvArena& arena, BlockIndex block, int what) {
  for (int layer = 0; layer < kGeometry.layers; ++layer)
    std::memset(Place(arena, layer, block), what + layer, arena.Geometry().BlockBytes());
}

bool Holds(const KvArena& arena, BlockIndex block, int what) {
  for (int layer = 0; layer < kGeometry.layers; ++layer) {
    for (std::size_t i = 0; i < arena.Geometry().BlockBytes(); ++i) {
      if (Place(arena, layer, block)[i] != static_cast<std::byte>(what + layer)) return false;
    }
  }
  return true;
}

TEST_CASE("blocks that were copied out come back into other blocks, and nothing else is touched") {
  const auto backend =
      kernels::CreateCpuBackend({.compute = kernels::ComputeClass::kF32, .threads = 1}).value();
  const KvArena arena = KvArena::Create(*backend, kGeometry).value();
  SwapArea area = *SwapArea::Create(kGeometry, 5 * kGeometry.BlockBytes() * 3);
  REQUIRE(area.Slots() == 5);
  for (std::uint32_t block = 0; block < 12; ++block)
    Fill(arena, BlockIndex(block), 10 * static_cast<int>(block));
  const BlockTable slots = {BlockIndex(4), BlockIndex(0), BlockIndex(2)};

  area.CopyOut(arena, {BlockIndex(7), BlockIndex(3), BlockIndex(5)}, slots, 2);
  for (const std::uint32_t block : {7U, 3U, 5U}) Fill(arena, BlockIndex(block), 200);
  area.CopyIn(arena, {BlockIndex(1), BlockIndex(9)}, slots, 2);

  CHECK(Holds(arena, BlockIndex(1), 70));
  CHECK(Holds(arena, BlockIndex(9), 30));
  for (const std::uint32_t block : {7U, 3U, 5U}) CHECK(Holds(arena, BlockIndex(block), 200));
  for (const std::uint32_t block : {0U, 2U, 4U, 6U, 8U, 10U, 11U})
    CHECK(Holds(arena, BlockIndex(block), 10 * static_cast<int>(block)));
}

TEST_CASE("an area smaller than one block has no slot") {
  CHECK(SwapArea::Create(kGeometry, 100)->Slots() == 0);
  CHECK(SwapArea::Create(kGeometry, 0)->Slots() == 0);
}

TEST_CASE("an area larger than the machine is refused, with its field and size") {
  const auto area = SwapArea::Create(kGeometry, std::uint64_t{1} << 50);

  REQUIRE_FALSE(area.ok());
  CHECK(area.status().code() == kResourceExhausted);
  CHECK(Message(area.status()).find("kv.swap: 11258999068") != std::string::npos);
}

}  // namespace
}  // namespace baton::engine
