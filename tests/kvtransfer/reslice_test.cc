#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "common/base/error.h"
#include "common/base/random.h"
#include "kvtransfer/element.h"
#include "kvtransfer/reslice.h"

namespace baton::kvtransfer {
namespace {

/// One layer of one rank's arena, elementwise.
class Arena {
 public:
  explicit Arena(const KvShare& share, std::int64_t prompt_tokens) : share_(share) {
    const auto count =
        static_cast<std::uint32_t>((prompt_tokens + share.block_tokens - 1) / share.block_tokens);
    for (std::uint32_t i = 0; i < count; ++i)
      blocks.emplace_back(2 * (count - 1 - i) + 1);  // backwards, with gaps
    block_elements_ =
        std::size_t{2} * static_cast<std::size_t>(HeadsOf(share).count * share.block_tokens * share.head_dim);
    bytes.resize(2 * count * block_elements_ * RowBytes(share.element, 1));
  }
  [[nodiscard]] std::size_t At(int part, int head, std::int64_t token, int dim) const {
    const HeadRange held = HeadsOf(share_);
    const auto block = blocks[static_cast<std::size_t>(token / share_.block_tokens)].value;
    const auto row =
        (part * held.count + head - held.first) * share_.block_tokens + token % share_.block_tokens;
    return (block * block_elements_ + static_cast<std::size_t>(row * share_.head_dim + dim)) *
           RowBytes(share_.element, 1);
  }
  [[nodiscard]] float Read(int part, int head, std::int64_t token, int dim) const {
    float value = 0;
    ConvertRow(share_.element,
               std::span(bytes).subspan(At(part, head, token, dim), RowBytes(share_.element, 1)),
               Element::kF32, std::as_writable_bytes(std::span(&value, 1)), 1);
    return value;
  }
  void Write(int part, int head, std::int64_t token, int dim, float value) {
    ConvertRow(Element::kF32, std::as_bytes(std::span(&value, 1)), share_.element,
               std::span(bytes).subspan(At(part, head, token, dim), RowBytes(share_.element, 1)), 1);
  }

  std::vector<BlockIndex> blocks;
  std::vector<std::byte> bytes;

 private:
  KvShare share_;
  std::size_t block_elements_ = 0;
};

/// What the model has there: exact in bf16.
float ValueOf(int part, int head, std::int64_t token, int dim) {
  return static_cast<float>(CounterBits(static_cast<std::uint64_t>(part * 64 + head),
                                        static_cast<std::uint64_t>(token * 64 + dim)) %
                            255) -
         127;
}

template <typename F>
void ForEach(const KvShare& share, std::int64_t tokens, F work) {
  const HeadRange held = HeadsOf(share);
  for (int part = 0; part < 2; ++part) {
    for (int head = held.first; head < held.first + held.count; ++head) {
      for (std::int64_t token = 0; token < tokens; ++token) {
        for (int dim = 0; dim < share.head_dim; ++dim) work(part, head, token, dim);
      }
    }
  }
}

struct Shape {
  int heads = 4;
  int source_ranks = 1;
  int target_ranks = 1;
  int source_block = 4;
  int target_block = 4;
  Element source = Element::kF32;
  Element target = Element::kF32;
  Element wire = Element::kF32;
  std::int64_t tokens = 13;
};

KvShare Share(const Shape& shape, bool source, int rank) {
  return {.kv_heads = shape.heads,
          .head_dim = 3,
          .block_tokens = source ? shape.source_block : shape.target_block,
          .element = source ? shape.source : shape.target,
          .ranks = source ? shape.source_ranks : shape.target_ranks,
          .rank = rank};
}

/// Sends every pair's slices, in pieces of a few slices, and compares each target rank with the model.
void CheckShape(const Shape& shape, float tolerance) {
  for (int target_rank = 0; target_rank < shape.target_ranks; ++target_rank) {
    const KvShare target = Share(shape, false, target_rank);
    Arena arrived(target, shape.tokens);
    std::map<std::pair<std::size_t, std::size_t>, int> covered;  // block, element
    for (int source_rank = 0; source_rank < shape.source_ranks; ++source_rank) {
      const KvShare source = Share(shape, true, source_rank);
      Arena sent(source, shape.tokens);
      ForEach(source, shape.tokens, [&](int part, int head, std::int64_t token, int dim) {
        sent.Write(part, head, token, dim, ValueOf(part, head, token, dim));
      });
      const auto plan = ReslicePlan::Create(source, target, shape.wire, shape.tokens);
      REQUIRE(plan.ok());
      std::size_t wire_bytes = 0;
      for (std::size_t first = 0; first < plan->Slices().size();) {
        const std::size_t last = plan->Fitting(first, 100);
        std::vector<std::byte> wire(100'000);
        wire.resize(plan->Gather(sent.bytes, sent.blocks, first, last, wire));
        wire_bytes += wire.size();
        REQUIRE(plan->Scatter(wire, first, last, arrived.bytes, arrived.blocks).ok());
        first = last;
      }
      CHECK(wire_bytes == plan->WireBytes());
      for (const Slice& slice : plan->Slices()) {
        for (std::size_t i = 0; i < slice.count; ++i) ++covered[{slice.target_block, slice.target_at + i}];
      }
    }
    for (const auto& [place, times] : covered) REQUIRE(times == 1);
    int wrong = 0;
    ForEach(target, shape.tokens, [&](int part, int head, std::int64_t token, int dim) {
      const float difference =
          std::fabs(arrived.Read(part, head, token, dim) - ValueOf(part, head, token, dim));
      wrong += difference <= tolerance ? 0 : 1;
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("KV arrives whole between tensor-parallel sizes that differ") {
  const auto [from, to] = GENERATE(table<int, int>(
      {{1, 1}, {1, 2}, {2, 1}, {4, 2}, {2, 4}, {1, 4}, {4, 1}, {8, 2}, {2, 8}, {8, 1}, {8, 8}, {16, 4}}));
  CAPTURE(from, to);

  CheckShape({.source_ranks = from, .target_ranks = to}, 0);
}

TEST_CASE("KV arrives whole between block sizes that differ, also with other ranks") {
  const auto [from, to] = GENERATE(table<int, int>({{4, 8}, {8, 4}, {16, 4}, {4, 6}, {1, 16}}));
  const int ranks = GENERATE(1, 2);
  const std::int64_t tokens = GENERATE(1, 4, 13, 33);
  CAPTURE(from, to, ranks, tokens);

  CheckShape({.target_ranks = ranks, .source_block = from, .target_block = to, .tokens = tokens}, 0);
}

TEST_CASE("KV is converted between element types, on the wire and at either end") {
  const auto [source, wire, target] =
      GENERATE(table<Element, Element, Element>({{Element::kBf16, Element::kBf16, Element::kBf16},
                                                 {Element::kBf16, Element::kBf16, Element::kF32},
                                                 {Element::kBf16, Element::kF16, Element::kF16},
                                                 {Element::kBf16, Element::kF32, Element::kF32},
                                                 {Element::kF32, Element::kBf16, Element::kBf16}}));

  CheckShape({.source_ranks = 2, .target_block = 8, .source = source, .target = target, .wire = wire}, 0);
}

TEST_CASE("int8 on the wire halves the bytes of bf16 and is within half a step of each head's scale") {
  CheckShape({.target_ranks = 2, .source = Element::kBf16, .target = Element::kBf16, .wire = Element::kInt8},
             0.5F + 0.5F);  // half a step of at most 127 / 127, and bf16's rounding of the result

  const KvShare share{.kv_heads = 4, .head_dim = 64, .element = Element::kBf16};
  const auto whole = ReslicePlan::Create(share, share, Element::kBf16, 64);
  const auto small = ReslicePlan::Create(share, share, Element::kInt8, 64);
  REQUIRE((whole.ok() && small.ok()));
  CHECK(small->WireBytes() < whole->WireBytes() * 51 / 100);
}

TEST_CASE("equal geometries give one slice a block, and heads that lie together go together") {
  const KvShare one{.kv_heads = 8, .head_dim = 4, .block_tokens = 16};
  KvShare half = one;
  half.ranks = 2;

  const auto same = ReslicePlan::Create(one, one, Element::kF32, 48);
  const auto cut = ReslicePlan::Create(one, half, Element::kF32, 48);

  REQUIRE((same.ok() && cut.ok()));
  CHECK(same->Slices().size() == 3);
  CHECK(cut->Slices().size() == 6);  // k and v
  CHECK(cut->Slices()[0] == Slice{.count = 4 * 16 * 4});
}

TEST_CASE("of ranks that hold the same head only the lowest sends") {
  const KvShare target{.kv_heads = 2, .head_dim = 4};
  std::vector<int> senders;
  for (int rank = 0; rank < 8; ++rank) {
    if (HeadsBetween({.kv_heads = 2, .head_dim = 4, .ranks = 8, .rank = rank}, target))
      senders.push_back(rank);
  }

  CHECK(senders == std::vector{0, 4});
}

TEST_CASE("both sides' plans have one hash, and another geometry another") {
  const KvShare source{.kv_heads = 4, .head_dim = 8, .ranks = 2};
  KvShare target{.kv_heads = 4, .head_dim = 8};
  const auto ours = ReslicePlan::Create(source, target, Element::kF32, 40);
  const auto theirs = ReslicePlan::Create(source, target, Element::kF32, 40);
  target.block_tokens = 32;
  const auto other = ReslicePlan::Create(source, target, Element::kF32, 40);

  CHECK(ours->Hash() == theirs->Hash());
  CHECK(ours->Hash() != other->Hash());
}

TEST_CASE("geometries that do not fit are refused with the numbers") {
  const KvShare good{.kv_heads = 4, .head_dim = 8};
  const auto refused = [&](const KvShare& source, const KvShare& target) {
    return Message(ReslicePlan::Create(source, target, Element::kF32, 16).status());
  };

  CHECK(refused({.kv_heads = 4, .head_dim = 8, .ranks = 3}, good) ==
        "source: 4 KV heads cannot be shared by 3 ranks: one must divide the other");
  CHECK(refused(good, {.kv_heads = 4, .head_dim = 16}) == "4 heads of 8 here, 4 of 16 there: another model");
  CHECK_FALSE(refused(good, {.kv_heads = 4, .head_dim = 8, .ranks = 2, .rank = 2}).empty());
  CHECK_FALSE(refused({.kv_heads = 4, .head_dim = 8, .element = Element::kInt8}, good).empty());
  CHECK_FALSE(ReslicePlan::Create(good, good, Element::kF32, 0).ok());
}

TEST_CASE("a wire of another length writes nothing") {
  const KvShare share{.kv_heads = 1, .head_dim = 2, .block_tokens = 2};
  const auto plan = ReslicePlan::Create(share, share, Element::kF32, 2);
  Arena arena(share, 2);
  const std::vector<std::byte> before = arena.bytes;
  const std::vector<std::byte> wire(plan->WireBytes() + 1, std::byte{1});

  CHECK_FALSE(plan->Scatter(wire, 0, plan->Slices().size(), arena.bytes, arena.blocks).ok());
  CHECK(arena.bytes == before);
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
