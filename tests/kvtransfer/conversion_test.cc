#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kvtransfer/conversion.h"
#include "kvtransfer/receive_window.h"
#include "tests/support/plain_kv.h"

/// What the sender makes of a prompt and the receiver puts into its blocks, against plain loops.
namespace baton::kvtransfer {
namespace {

using baton::test::PlainKv;

constexpr int kLayers = 2;

KvLayout Layout(int ranks, int block_tokens, const std::string& dtype) {
  KvLayout layout;
  layout.layers = kLayers;
  layout.kv_heads = 4;
  layout.head_dim = 6;
  layout.block_tokens = block_tokens;
  layout.dtype = dtype;
  layout.element_bytes = dtype == "f32" ? 4 : 2;
  layout.ranks = ranks;
  return layout;
}

/// Blocks in no order, with gaps.
std::vector<BlockIndex> Table(std::int64_t tokens, int block_tokens, std::uint32_t first) {
  const auto count = static_cast<std::uint32_t>((tokens + block_tokens - 1) / block_tokens);
  std::vector<BlockIndex> table;
  for (std::uint32_t i = 0; i < count; ++i) table.emplace_back(first + 2 * (count - 1 - i));
  return table;
}

struct Pair {
  KvLayout source;
  KvLayout target;
  std::int64_t tokens = 0;
  bool int8 = false;
};

/// Sends a prompt from one arena into another, message by message; the greatest difference that there is.
float Send(const Pair& pair) {
  const std::int64_t blocks = 64;
  PlainKv source(pair.source, blocks);
  PlainKv target(pair.target, blocks);
  const std::vector<BlockIndex> from = Table(pair.tokens, pair.source.block_tokens, 3);
  const std::vector<BlockIndex> to = Table(pair.tokens, pair.target.block_tokens, 1);
  source.Compute(1, from, pair.tokens);
  const KvShape source_shape = ShapeOf(pair.source).value();
  const KvShape target_shape = ShapeOf(pair.target).value();
  const Element wire = pair.int8 ? Element::kInt8 : WireElement(source_shape.element, target_shape.element);

  const auto conversion = Conversion::Create(
      source.View(),
      {.receiver_shape = PairShapeOf(target_shape), .sender_shape = PairShapeOf(source_shape), .wire = wire});
  REQUIRE(conversion.ok());
  SendPlan plan({.layers = kLayers, .block_tokens = pair.source.block_tokens, .block_bytes = 1}, pair.tokens,
                from);
  plan.SetTarget(to, conversion->TargetShape(1));
  for (int layer = 0; layer < kLayers; ++layer) plan.LayerReady(layer, 0, pair.tokens);
  plan.Finish(pair.tokens);

  ReceiveWindows windows(target.View());
  ReceiveWindow window{.transfer = {.high = 1, .low = 1}, .receiver = Incarnation(1)};
  for (auto at = to.rbegin(); at != to.rend(); ++at) window.blocks.push_back({.first = *at, .count = 1});
  if (wire != target_shape.element) window.wire = WireFormatOf(source_shape, target_shape, wire);
  window.element = target_shape.element;
  windows.Open(window);

  const auto stager = CreateHostStager(1, kMessageBytesMax, /*own_thread=*/false);
  for (const PlannedMessage& message : plan.Take()) {
    StageJob job = conversion->JobFor(message, from, pair.tokens);
    DataHeader header{.transfer = window.transfer,
                      .receiver = window.receiver,
                      .payload_bytes = static_cast<std::uint32_t>(job.bytes)};
    for (const PlannedRun& run : message)
      header.runs.push_back({.layer = run.layer, .blocks = {.first = run.target, .count = run.count}});
    const std::size_t bytes = job.bytes;
    stager->Gather(SlotIndex(0), std::move(job), [](const absl::Status&) {});
    const auto landing = windows.Place(header);
    INFO(Message(landing.status()));
    REQUIRE(landing.ok());
    windows.Begin(header);
    std::size_t at = 0;
    for (const std::span<std::byte> place : landing->places) {
      std::ranges::copy(stager->Slot(SlotIndex(0)).subspan(at, place.size()), place.begin());
      at += place.size();
    }
    REQUIRE(at == bytes);
    if (landing->Settles()) REQUIRE(landing->Settle() == absl::OkStatus());
    REQUIRE_FALSE(windows.End(header.transfer));
  }
  REQUIRE(plan.Complete());
  return target.Difference(1, to, pair.tokens);
}

TEST_CASE("KV arrives whole between all ranks, block sizes and types that differ") {
  const int from = GENERATE(1, 2, 4, 8, 16);
  const int to = GENERATE(1, 2, 4, 8, 16);
  const auto [source_block, target_block] =
      GENERATE(table<int, int>({{16, 16}, {16, 32}, {32, 16}, {16, 64}, {64, 16}, {48, 32}}));
  CAPTURE(from, to, source_block, target_block);

  for (const auto& [source, target] :
       {std::pair{"f32", "f32"}, std::pair{"bf16", "f32"}, std::pair{"f32", "bf16"}, std::pair{"bf16", "f16"},
        std::pair{"f16", "bf16"}}) {
    for (const std::int64_t tokens : {1, 16, 17, 100}) {
      CAPTURE(source, target, tokens);
      CHECK(Send({.source = Layout(from, source_block, source),
                  .target = Layout(to, target_block, target),
                  .tokens = tokens}) == 0);
    }
  }
}

TEST_CASE("int8 on the wire is within half a step of each head's scale") {
  const auto [from, to] = GENERATE(table<int, int>({{1, 1}, {1, 2}, {2, 1}, {8, 4}}));
  const auto [source_block, target_block] = GENERATE(table<int, int>({{16, 16}, {16, 32}, {32, 16}}));

  const float difference = Send({.source = Layout(from, source_block, "bf16"),
                                 .target = Layout(to, target_block, "bf16"),
                                 .tokens = 45,
                                 .int8 = true});

  CHECK(difference > 0);             // no conversion is that good: it did travel as int8
  CHECK(difference <= 0.5F + 0.5F);  // half a step of at most 127 / 127, and bf16's rounding of the result
}

TEST_CASE("what lies behind the prompt's end is sent as zeros: it may be another's KV") {
  const KvLayout small = Layout(1, 16, "f32");
  PlainKv source(small, 8);
  const std::vector<BlockIndex> all = {BlockIndex(0), BlockIndex(1)};
  source.Compute(99, all, 32);  // another's, before
  source.Compute(1, all, 20);
  const auto conversion = Conversion::Create(
      source.View(), {.receiver_shape = {.ranks = 1, .block_tokens = 32}, .sender_shape = {.ranks = 1}});
  REQUIRE(conversion.ok());

  StageJob job = conversion->JobFor({{.layer = 0, .target = BlockIndex(0), .count = 1}}, all, 20);
  const auto stager = CreateHostStager(1, job.bytes, /*own_thread=*/false);
  std::ranges::fill(stager->Slot(SlotIndex(0)), std::byte{0x55});
  stager->Gather(SlotIndex(0), std::move(job), [](const absl::Status&) {});

  const auto* numbers = reinterpret_cast<const float*>(stager->Slot(SlotIndex(0)).data());
  CHECK(numbers[19 * 6] == baton::test::KvValue(1, 0, 0, 0, 19, 0));
  for (int i = 20 * 6; i < 32 * 6; ++i) REQUIRE(numbers[i] == 0);
}

TEST_CASE("a grant that takes the sender's KV for something else, or cannot be met, is refused with both") {
  PlainKv source(Layout(2, 16, "bf16"), 4);
  const auto refused = [&](const PairShape& sender, const PairShape& receiver) {
    return Message(
        Conversion::Create(source.View(), {.receiver_shape = receiver, .sender_shape = sender}).status());
  };
  const PairShape own{.ranks = 2, .block_tokens = 16, .element = Element::kBf16};

  CHECK(refused({.ranks = 1, .block_tokens = 16, .element = Element::kBf16}, own) ==
        "the grant takes this worker's KV for 1 ranks, 16 tokens a block, bf16; it is 2 ranks, 16 tokens a "
        "block, bf16");
  CHECK(refused(own, {.ranks = 3}) ==
        "KV cannot be converted: target: 4 KV heads cannot be shared by 3 ranks: one must divide the other");
  CHECK(refused(own, {.ranks = 1, .block_tokens = 1 << 16}).find("longer than a message") !=
        std::string::npos);
}

TEST_CASE("workers of one model may differ in ranks, blocks and type, and in nothing else") {
  const KvLayout ours = Layout(2, 16, "bf16");
  const auto refused = [&](const KvLayout& theirs) { return Message(CheckConvertible(ours, theirs)); };
  KvLayout heads = ours;
  heads.kv_heads = 8;
  KvLayout lying = Layout(1, 16, "f32");
  lying.element_bytes = 2;

  CHECK(CheckConvertible(ours, Layout(4, 32, "f32")).ok());
  CHECK(refused(heads) == "KV of another model: KV heads: here 4, there 8");
  CHECK(refused(Layout(3, 16, "bf16")) ==
        "KV cannot be converted: there: 4 KV heads cannot be shared by 3 ranks: one must divide the other");
  CHECK(refused(Layout(1, 16, "fp4")).find("KV of type 'fp4'") != std::string::npos);
  CHECK(refused(lying).find("elements of 2 bytes are no f32") != std::string::npos);
  CHECK(refused(Layout(1, 1 << 16, "f32")).find("choose a smaller kv.block_tokens") != std::string::npos);
}

}  // namespace
}  // namespace baton::kvtransfer
