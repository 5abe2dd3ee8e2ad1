#include <catch2/catch.hpp>

#include <numeric>
#include <random>
#include <set>

#include "kvtransfer/send_plan.h"

namespace baton::kvtransfer {
namespace {

std::vector<BlockIndex> Blocks(std::uint32_t first, std::size_t count) {
  std::vector<BlockIndex> blocks;
  for (std::size_t i = 0; i < count; ++i) blocks.emplace_back(first + static_cast<std::uint32_t>(i));
  return blocks;
}

void AllLayersReady(SendPlan& plan, int layers, std::int64_t tokens) {
  for (int layer = 0; layer < layers; ++layer) plan.LayerReady(layer, 0, tokens);
}

TEST_CASE("nothing is sent before the grant, whatever is ready") {
  SendPlan plan({.layers = 2, .block_tokens = 16, .block_bytes = 256U << 10, .layer_wise_bytes_min = 1}, 32,
                Blocks(0, 2));
  AllLayersReady(plan, 2, 32);
  plan.Finish(32);

  CHECK(plan.Take().empty());
  plan.SetTarget(Blocks(8, 2));
  CHECK(plan.Take().size() == 2);
  CHECK(plan.Complete());
}

TEST_CASE("a small prompt is one shot: nothing goes before the end, then packed messages") {
  SendPlan plan({.layers = 4, .block_tokens = 16, .block_bytes = 4096, .layer_wise_bytes_min = 512U << 10},
                40, Blocks(0, 3));
  plan.SetTarget(Blocks(5, 3));
  AllLayersReady(plan, 4, 40);

  CHECK(plan.Take().empty());
  plan.Finish(40);
  const auto messages = plan.Take();

  REQUIRE(messages.size() == 1);
  CHECK(messages[0].size() == 4);
  CHECK(messages[0][1] ==
        PlannedRun{.layer = 1, .source = BlockIndex(0), .target = BlockIndex(5), .count = 3});
  CHECK_FALSE(plan.LayerWise());
}

TEST_CASE("a layer that is large enough goes while the next one computes, its unfinished block last") {
  SendPlan plan(
      {.layers = 2, .block_tokens = 16, .block_bytes = 256U << 10, .layer_wise_bytes_min = 256U << 10}, 40,
      Blocks(0, 3));
  plan.SetTarget(Blocks(0, 3));

  plan.LayerReady(0, 0, 24);
  const auto first = plan.Take();
  REQUIRE(first.size() == 1);
  CHECK(first[0][0].count == 1);  // block 1 still changes
  plan.LayerReady(1, 0, 24);
  CHECK(plan.Take().size() == 1);
  plan.LayerReady(0, 24, 16);
  CHECK(plan.Take()[0][0].count == 2);
  plan.LayerReady(1, 24, 16);
  plan.Finish(40);
  CHECK(plan.Take().size() == 1);
  CHECK(plan.Complete());
  CHECK(plan.LayerWise());
}

TEST_CASE("every block of every layer is sent exactly once, in messages of bounded size, for random tables") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const int layers = 1 + static_cast<int>(random() % 5);
    const std::size_t block_count = 1 + random() % 60;
    const std::size_t block_bytes = std::size_t{1} << (9 + random() % 12);
    const auto tokens = static_cast<std::int64_t>(block_count * 16 - random() % 16);
    const auto table = [&] {
      auto blocks = Blocks(0, 100);
      if (random() % 2 == 0) std::shuffle(blocks.begin(), blocks.end(), random);
      blocks.resize(block_count);
      return blocks;
    };
    const auto source = table();
    const auto target = table();
    SendPlan plan(
        {.layers = layers, .block_tokens = 16, .block_bytes = block_bytes, .layer_wise_bytes_min = 32U << 10},
        tokens, source);
    std::set<std::tuple<int, std::uint32_t, std::uint32_t>> sent;
    const auto take = [&] {
      for (const auto& message : plan.Take()) {
        REQUIRE(message.size() <= kMessageRunsMax);
        std::size_t bytes = 0;
        for (const PlannedRun& run : message) {
          bytes += run.count * block_bytes;
          for (std::uint32_t i = 0; i < run.count; ++i) {
            REQUIRE(sent.emplace(run.layer, run.source.value + i, run.target.value + i).second);
          }
        }
        REQUIRE(bytes <= std::max<std::size_t>(kMessageBytes, block_bytes));
      }
    };
    const bool early_grant = random() % 2 == 0;
    if (early_grant) plan.SetTarget(target);
    for (std::int64_t at = 0; at < tokens;) {
      const auto chunk = std::min<std::int64_t>(tokens - at, 1 + static_cast<std::int64_t>(random() % 200));
      for (int layer = 0; layer < layers; ++layer) plan.LayerReady(layer, at, chunk);
      at += chunk;
      take();
    }
    plan.Finish(tokens);
    if (!early_grant) plan.SetTarget(target);
    take();
    REQUIRE(plan.Complete());
    REQUIRE(sent.size() == block_count * static_cast<std::size_t>(layers));
    for (std::size_t i = 0; i < block_count; ++i)
      REQUIRE(sent.contains({0, source[i].value, target[i].value}));
  }
}

TEST_CASE("of an answer that is written meanwhile full blocks go in rounds, and the last one at the end") {
  SendPlan plan({.layers = 2, .block_tokens = 16, .block_bytes = 4096, .layer_wise_bytes_min = 1}, 200,
                Blocks(0, 3));
  plan.SetTarget(Blocks(50, 13));

  AllLayersReady(plan, 2, 40);
  const auto first = plan.Take();
  REQUIRE(first.size() == 1);
  CHECK(first[0][0].count == 2);
  CHECK(plan.Take().empty());
  plan.AddSource(Blocks(20, 2));
  for (int layer = 0; layer < 2; ++layer) plan.LayerReady(layer, 40, 25);
  CHECK(plan.Take()[0] ==
        PlannedMessage{
            {.layer = 0, .source = BlockIndex(2), .target = BlockIndex(52), .count = 1, .place = 2},
            {.layer = 0, .source = BlockIndex(20), .target = BlockIndex(53), .count = 1, .place = 3},
            {.layer = 1, .source = BlockIndex(2), .target = BlockIndex(52), .count = 1, .place = 2},
            {.layer = 1, .source = BlockIndex(20), .target = BlockIndex(53), .count = 1, .place = 3}});
  CHECK_FALSE(plan.AllReady(64));
  plan.Finish(65);

  CHECK(plan.Take()[0][1] ==
        PlannedRun{.layer = 1, .source = BlockIndex(21), .target = BlockIndex(54), .count = 1, .place = 4});
  CHECK(plan.Complete());
}

}  // namespace
}  // namespace baton::kvtransfer
