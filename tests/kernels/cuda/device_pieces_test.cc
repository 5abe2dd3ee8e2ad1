#include "kernels/cuda/device_pieces.h"

#include <cstdint>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::kernels::cuda {
namespace {

std::byte* At(std::uintptr_t address) {
  return reinterpret_cast<std::byte*>(address);
}

TEST_CASE("pieces that go on where the one before ends are one, and each is cut to what a block takes") {
  std::vector<PieceArgument> cut;
  CutPieces(
      std::vector<DeviceCopier::Piece>{
          {At(0x10000), 0, 10'000}, {At(0x10000 + 10'000), 10'000, 10'000}, {At(0x90000), 20'000, 5}},
      cut);

  REQUIRE(cut.size() == 3);
  CHECK(cut[0] == PieceArgument{.address = At(0x10000), .offset = 0, .bytes = 16'384});
  CHECK(cut[1] == PieceArgument{.address = At(0x10000 + 16'384), .offset = 16'384, .bytes = 3616});
  CHECK(cut[2] == PieceArgument{.address = At(0x90000), .offset = 20'000, .bytes = 5});
}

TEST_CASE("pieces that lie together on one side alone stay apart") {
  std::vector<PieceArgument> cut;
  CutPieces(
      std::vector<DeviceCopier::Piece>{
          {At(0x10000), 0, 16}, {At(0x10010), 32, 16}, {At(0x20000), 48, 16}, {At(0x30000), 64, 0}},
      cut);

  REQUIRE(cut.size() == 3);
  CHECK(cut[1].offset == 32);
  CHECK(cut[2].offset == 48);
}

}  // namespace
}  // namespace baton::kernels::cuda
