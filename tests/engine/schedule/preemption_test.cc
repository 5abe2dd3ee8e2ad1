#include "engine/schedule/preemption.h"

#include <vector>

#include <catch2/catch.hpp>

namespace baton::engine {
namespace {

// 1,000 tokens a second, and 1 MB a second either way: a token of 500 bytes costs the same both ways.
constexpr PreemptionRates kRates{
    .swap_out_bytes_per_second = 1e6, .swap_in_bytes_per_second = 1e6, .prompt_tokens_per_second = 1000};

VictimView View(std::int64_t arrival, std::int64_t tokens, std::int64_t token_bytes, std::int64_t blocks,
                bool room = true) {
  return {.arrival = arrival,
          .tokens = tokens,
          .swap_bytes = tokens * token_bytes,
          .swap_has_room = room,
          .frees_blocks = blocks};
}

TEST_CASE("the cheaper of swapping there and back and of computing again is chosen") {
  const PreemptionPlan small = PreemptionCost(View(1, 200, 400, 13), kRates);
  const PreemptionPlan large = PreemptionCost(View(1, 200, 600, 13), kRates);

  CHECK(small.kind == Preemption::kSwap);
  CHECK(small.seconds == Approx(0.16));
  CHECK(large.kind == Preemption::kRecompute);
  CHECK(large.seconds == Approx(0.2));
}

TEST_CASE("the cost of a swap counts both ways, each at its own rate") {
  PreemptionRates slow_back = kRates;
  slow_back.swap_in_bytes_per_second = 1e5;

  CHECK(PreemptionCost(View(1, 100, 400, 7), slow_back, Preemption::kSwap).seconds == Approx(0.04 + 0.4));
  CHECK(PreemptionCost(View(1, 100, 400, 7), slow_back).kind == Preemption::kRecompute);
}

TEST_CASE("without room in the host area a sequence is computed again, whatever it costs or is asked for") {
  CHECK(PreemptionCost(View(1, 200, 1, 13, /*room=*/false), kRates).kind == Preemption::kRecompute);
  CHECK(PreemptionCost(View(1, 200, 1, 13, false), kRates, Preemption::kSwap).kind == Preemption::kRecompute);
}

TEST_CASE("a forced choice overrides the cost, and a rate that is not known is never the cheaper one") {
  CHECK(PreemptionCost(View(1, 200, 600, 13), kRates, Preemption::kSwap).kind == Preemption::kSwap);
  CHECK(PreemptionCost(View(1, 200, 400, 13), kRates, Preemption::kRecompute).kind == Preemption::kRecompute);
  PreemptionRates no_prefill = kRates;
  no_prefill.prompt_tokens_per_second = 0;
  CHECK(PreemptionCost(View(1, 200, 60000, 13), no_prefill).kind == Preemption::kSwap);
  PreemptionRates no_swap = kRates;
  no_swap.swap_in_bytes_per_second = 0;
  CHECK(PreemptionCost(View(1, 200, 1, 13), no_swap).kind == Preemption::kRecompute);
}

TEST_CASE("of candidates that cost the same for each block the youngest makes room") {
  const std::vector<VictimView> candidates = {View(4, 320, 400, 20), View(9, 160, 400, 10),
                                              View(7, 480, 400, 30)};

  const auto victim = ChooseVictim(candidates, kRates);

  REQUIRE(victim.has_value());
  CHECK(victim->index == 1);
  CHECK(victim->plan.kind == Preemption::kSwap);
}

TEST_CASE("a candidate that costs much more for each block is spared, although it is younger") {
  // The youngest shares nearly all its blocks: it would be moved whole to free one block.
  const std::vector<VictimView> candidates = {View(4, 320, 400, 20), View(9, 320, 400, 1)};

  CHECK(ChooseVictim(candidates, kRates)->index == 0);
}

TEST_CASE("who frees nothing is no victim") {
  CHECK_FALSE(ChooseVictim({}, kRates).has_value());
  const std::vector<VictimView> sharing = {View(4, 320, 400, 0)};
  CHECK_FALSE(ChooseVictim(sharing, kRates).has_value());
}

TEST_CASE("where no rate is known the youngest is computed again") {
  const std::vector<VictimView> candidates = {View(4, 320, 400, 20), View(9, 160, 400, 10)};

  const auto victim = ChooseVictim(candidates, {});

  REQUIRE(victim.has_value());
  CHECK(victim->index == 1);
  CHECK(victim->plan.kind == Preemption::kRecompute);
}

}  // namespace
}  // namespace baton::engine
