#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <set>

#include "common/base/error.h"
#include "kvtransfer/element.h"
#include "kvtransfer/reslice.h"

namespace baton::kvtransfer {
namespace {

std::vector<Slice> SlicesOf(const Reslice& reslice, int rank, std::int64_t block, std::int64_t tokens) {
  std::vector<Slice> slices;
  reslice.AppendSlices(rank, block, tokens, slices);
  return slices;
}

TEST_CASE("equal shapes give one slice a block, and heads that lie together go together") {
  const KvShape one{.kv_heads = 8, .head_dim = 4, .block_tokens = 16};
  KvShape half = one;
  half.ranks = 2;

  const auto same = Reslice::Create(one, one, Element::kF32);
  const auto cut = Reslice::Create(one, half, Element::kF32);
  const auto joined = Reslice::Create(half, one, Element::kF32);

  REQUIRE((same.ok() && cut.ok() && joined.ok()));
  CHECK(SlicesOf(*same, 0, 1, 32) == std::vector{Slice{.source_block = 1, .count = 2 * 8 * 16 * 4}});
  CHECK(SlicesOf(*cut, 1, 0, 16) ==  // k and v
        std::vector{Slice{.source_at = 4 * 64, .count = 4 * 64},
                    Slice{.source_at = 12 * 64, .count = 4 * 64, .wire_at = 4 * 64 * 4}});
  CHECK(SlicesOf(*joined, 0, 0, 16).size() == 4);
}

TEST_CASE("a block's bytes on the wire are covered once each, but for what lies behind the prompt's end") {
  const int from = GENERATE(1, 2, 4, 8);
  const int to = GENERATE(1, 2, 4, 16);
  const auto [source_block, target_block] = GENERATE(table<int, int>({{4, 4}, {4, 8}, {8, 4}, {6, 4}}));
  const Element wire = GENERATE(Element::kBf16, Element::kInt8);
  CAPTURE(from, to, source_block, target_block, Name(wire));
  const KvShape source{.kv_heads = 4, .head_dim = 3, .block_tokens = source_block, .ranks = from};
  const KvShape target{.kv_heads = 4, .head_dim = 3, .block_tokens = target_block, .ranks = to};
  const auto reslice = Reslice::Create(source, target, wire);
  REQUIRE(reslice.ok());
  const std::int64_t tokens = 13;

  for (int rank = 0; rank < to; ++rank) {
    for (std::int64_t block = 0; block * target_block < tokens; ++block) {
      std::vector<int> covered(reslice->Wire().BlockBytes());
      std::size_t elements = 0;
      for (const Slice& slice : SlicesOf(*reslice, rank, block, tokens)) {
        elements += slice.count;
        REQUIRE(slice.wire_at + RowBytes(wire, slice.count) <= covered.size());
        for (std::size_t i = 0; i < RowBytes(wire, slice.count); ++i) ++covered[slice.wire_at + i];
      }
      const std::int64_t here = std::min<std::int64_t>(target_block, tokens - block * target_block);
      CHECK(elements == static_cast<std::size_t>(2 * target.HeadsPerRank() * 3 * here));
      CHECK(std::ranges::max(covered) == 1);
      if (here == target_block) CHECK(std::ranges::min(covered) == 1);
    }
  }
}

TEST_CASE("of ranks that hold the same head only the lowest is read") {
  const KvShape source{.kv_heads = 2, .head_dim = 4, .block_tokens = 4, .ranks = 8};
  const auto reslice =
      Reslice::Create(source, {.kv_heads = 2, .head_dim = 4, .block_tokens = 4}, Element::kF32);
  REQUIRE(reslice.ok());

  std::set<int> read;
  for (const Slice& slice : SlicesOf(*reslice, 0, 0, 4)) read.insert(slice.source_rank);

  CHECK(read == std::set{0, 4});
  CHECK(HeadsOf(source, 3) == HeadRange{.first = 0, .count = 1});
  CHECK(HeadsOf(source, 4) == HeadRange{.first = 1, .count = 1});
}

TEST_CASE("the narrower type travels; int8 has a scale for each head and group of tokens") {
  CHECK(WireElement(Element::kBf16, Element::kF32) == Element::kBf16);
  CHECK(WireElement(Element::kF32, Element::kBf16) == Element::kBf16);
  CHECK(WireElement(Element::kBf16, Element::kF16) == Element::kF16);

  const KvShape share{.kv_heads = 4, .head_dim = 64, .block_tokens = 32, .element = Element::kBf16};
  KvShape small = share;
  small.block_tokens = 16;
  const WireFormat format = WireFormatOf(small, share, Element::kInt8);
  CHECK(format == WireFormat{.element = Element::kInt8, .rows = 2 * 4 * 2, .row_elements = 16 * 64});
  CHECK(format.BlockBytes() < share.BlockElements() * 2 * 51 / 100);
}

TEST_CASE("shapes that do not fit are refused with the numbers") {
  const KvShape good{.kv_heads = 4, .head_dim = 8};
  const auto refused = [&](const KvShape& source, const KvShape& target) {
    return Message(Reslice::Create(source, target, Element::kF32).status());
  };

  CHECK(refused({.kv_heads = 4, .head_dim = 8, .ranks = 3}, good) ==
        "source: 4 KV heads cannot be shared by 3 ranks: one must divide the other");
  CHECK(refused(good, {.kv_heads = 4, .head_dim = 16}) == "4 heads of 8 here, 4 of 16 there: another model");
  CHECK_FALSE(refused(good, {.kv_heads = 4, .head_dim = 8, .ranks = 0}).empty());
  CHECK_FALSE(refused(good, {.kv_heads = 4, .head_dim = 8, .block_tokens = 1 << 30}).empty());
  CHECK_FALSE(refused({.kv_heads = 4, .head_dim = 8, .element = Element::kInt8}, good).empty());
}

TEST_CASE("half and bfloat values convert exactly both ways, and round to the nearest even one") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if (std::isfinite(FromF16(half))) REQUIRE(ToF16(FromF16(half)) == half);
    if (!std::isnan(FromBf16(half))) REQUIRE(ToBf16(FromBf16(half)) == half);
  }
  CHECK(FromF16(0x3c00) == 1.0F);
  CHECK(FromF16(0x0001) == std::ldexp(1.0F, -24));
  CHECK(FromF16(0x7bff) == 65504.0F);
  CHECK(ToF16(1.0F + std::ldexp(1.0F, -11)) == 0x3c00);      // a tie goes to the even one
  CHECK(ToF16(1.0F + 3 * std::ldexp(1.0F, -11)) == 0x3c02);  // upward here
  CHECK(ToF16(1e9F) == 0x7bff);                              // clamped
  CHECK(ToF16(-std::numeric_limits<float>::infinity()) == 0xfbff);
  CHECK(std::isnan(FromF16(ToF16(std::nanf("")))));
  CHECK(std::isnan(FromBf16(ToBf16(std::nanf("")))));
  CHECK(ToBf16(1.0F + std::ldexp(1.0F, -8)) == 0x3f80);
}

TEST_CASE("a dtype that is none is an error that names those there are") {
  CHECK(*ElementOf("bf16") == Element::kBf16);
  CHECK(Message(ElementOf("fp4").status()) ==
        "KV of type 'fp4': known are f32, bf16, f16 and, on the wire, int8");
}

}  // namespace
}  // namespace baton::kvtransfer
