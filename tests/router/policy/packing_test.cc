#include "router/policy/packing.h"

#include <limits>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::router {
namespace {

constexpr MachineRole kWhole = MachineRole::kWhole;
constexpr MachineRole kPrompt = MachineRole::kPrompt;
constexpr MachineRole kToken = MachineRole::kToken;
constexpr PackLimits kLimits{.ttft_s = 1, .tbt_s = 0.1, .fill = 0.8};

struct Case {
  const char* what;
  std::vector<PackCandidate> candidates;
  MachinePair pair;
};

PowerMachine Whole(MachineIndex machine, PowerState state, double price, double answers = 10) {
  return {
      .machine = machine, .state = state, .price = price, .answers = answers, .requests_per_s = answers / 10};
}

}  // namespace

TEST_CASE("packing takes the cheapest machine that is not full, and the least loaded where all are") {
  const std::vector<Case> cases{
      {"the cheapest", {{0, kWhole, 2, 0.1, 0.01, 100}, {1, kWhole, 1, 0.7, 0.07, 100}}, {1, 1}},
      {"of equals the first", {{4, kWhole, 1, 0.7, 0.07, 100}, {2, kWhole, 1, 0.1, 0.01, 100}}, {2, 2}},
      {"the next where the cheapest is full by time to first token",
       {{0, kWhole, 2, 0.1, 0.01, 100}, {1, kWhole, 1, 0.81, 0.01, 100}},
       {0, 0}},
      {"the next where it is full by time between tokens",
       {{0, kWhole, 2, 0.1, 0.01, 100}, {1, kWhole, 1, 0.1, 0.081, 100}},
       {0, 0}},
      {"the next where it has no memory",
       {{0, kWhole, 2, 0.1, 0.01, 100}, {1, kWhole, 1, 0.1, 0.01, 99}},
       {0, 0}},
      {"the least loaded of full ones",
       {{0, kWhole, 2, 0.9, 0.01, 100}, {1, kWhole, 1, 0.1, 0.095, 100}},
       {0, 0}},
      {"a prompt and a token machine, each by what it does",
       {{0, kPrompt, 1, 0.9, 0, 0},
        {1, kPrompt, 2, 0.5, 0, 0},
        {2, kToken, 1, 0, 0.09, 100},
        {3, kToken, 2, 0, 0.05, 100}},
       {1, 3}},
      {"two machines where they are cheaper than one",
       {{0, kPrompt, 1, 0.5, 0, 0}, {1, kToken, 1, 0, 0.05, 100}, {2, kWhole, 3, 0.1, 0.01, 100}},
       {0, 1}},
      {"one machine where two are dearer, or one of them is full",
       {{0, kPrompt, 1, 0.9, 0, 0}, {1, kToken, 1, 0, 0.05, 100}, {2, kWhole, 3, 0.1, 0.01, 100}},
       {2, 2}},
  };
  for (const Case& each : cases) {
    CAPTURE(each.what);
    const PackPlacement placed = PlaceByPacking(100, each.candidates, kLimits);
    CHECK_FALSE(placed.refusal);
    CHECK(placed.pair == each.pair);
  }
}

TEST_CASE("packing refuses what is predicted late, or waits, and says why") {
  PackLimits strict = kLimits;
  strict.best_effort = false;
  const std::vector<PackCandidate> slow{{0, kWhole, 1, 0.1, 0.11, 100}};
  const std::vector<PackCandidate> queued{{0, kPrompt, 1, 1.1, 0, 0}, {1, kToken, 1, 0, 0.01, 100}};
  const std::vector<PackCandidate> half{{0, kPrompt, 1, 0.1, 0, 0}};

  CHECK(PlaceByPacking(100, slow, strict).refusal == CostRefusal::kTbt);
  CHECK(PlaceByPacking(100, slow, kLimits).pair == MachinePair{0, 0});
  CHECK(PlaceByPacking(100, slow, kLimits).load == Approx(1.1));
  CHECK(PlaceByPacking(100, queued, strict).refusal == CostRefusal::kTtft);
  CHECK(PlaceByPacking(101, slow, kLimits).refusal == CostRefusal::kMemory);
  CHECK(PlaceByPacking(100, half, kLimits).refusal == CostRefusal::kNoMachines);
  CHECK(PlaceByPacking(100, {}, kLimits).refusal == CostRefusal::kNoMachines);
  // Between full and late it is placed.
  const std::vector<PackCandidate> full{{0, kWhole, 1, 0.9, 0.01, 100}};
  CHECK(PlaceByPacking(100, full, strict).pair == MachinePair{0, 0});
}

TEST_CASE("a spare machine is left alone until the others would be late") {
  PackLimits limits = kLimits;
  limits.spill = 1.2;
  const auto with = [&](double needed_tbt, double spare_tbt) {
    const std::vector<PackCandidate> candidates{{0, kWhole, 1, 0.1, spare_tbt, 100, true},
                                                {1, kWhole, 2, 0.1, needed_tbt, 100}};
    return PlaceByPacking(100, candidates, limits).pair.token;
  };
  CHECK(with(0.07, 0.01) == 1);
  CHECK(with(0.12, 0.01) == 1);   // full, but a moment's queue
  CHECK(with(0.121, 0.01) == 0);  // late
  CHECK(with(0.13, 0.14) == 1);   // both are full: the less loaded
}

TEST_CASE("without limits every machine has room") {
  const std::vector<PackCandidate> candidates{{0, kWhole, 1, 100, 100, 100}, {1, kWhole, 2, 0, 0, 100}};
  CHECK(PlaceByPacking(100, candidates, {}).pair == MachinePair{0, 0});
}

TEST_CASE("prompts that replace answers interrupt those that stay") {
  // Each step 10 of 100 tokens' answers end: 0.1 prompts a step of two pieces each.
  const SharedSteps steps{
      .sequences = 10, .step_s = 0.02, .mixed_s = 0.07, .pieces = 2, .answer_tokens = 100};
  CHECK(MixedShare(steps) == Approx(0.2));
  CHECK(InterruptedTbt(steps) == Approx(0.02 + 0.2 * 0.05));

  SharedSteps queue = steps;
  queue.queued_pieces = 30;
  CHECK(MixedShare(queue) == Approx(0.5));
  CHECK(InterruptedTbt(queue) == Approx(0.045));

  SharedSteps none = steps;
  none.pieces = 0;
  none.mixed_s = 0;
  CHECK(InterruptedTbt(none) == Approx(0.02));

  SharedSteps overload = steps;
  overload.sequences = 100;
  CHECK(InterruptedTbt(overload) == Approx(2 * 0.07));
}

TEST_CASE("a request's price is its part of the machine's hour and of its power") {
  const CostWeights weights{.per_machine_dollar = 1, .per_joule = 1e-6};
  CHECK(PricePerRequest(36, 5000, 2, weights) == Approx((0.01 + 0.005) / 2));
  CHECK(PricePerRequest(36, 5000, 0, weights) == std::numeric_limits<double>::infinity());
}

TEST_CASE("the cheapest parked machine is woken before the others are full") {
  const std::vector<PowerMachine> machines{Whole(0, PowerState::kAwake, 1), Whole(1, PowerState::kParked, 3),
                                           Whole(2, PowerState::kParked, 2)};
  CHECK(ChooseToWake(machines, {.answers = 9.5}, {}) == kNoMachine);
  CHECK(ChooseToWake(machines, {.answers = 9.6}, {}) == 2);
  CHECK(ChooseToWake(machines, {.answers = 0, .requests_per_s = 0.96}, {}) == 2);

  const std::vector<PowerMachine> waking{Whole(0, PowerState::kAwake, 1), Whole(1, PowerState::kParked, 3),
                                         Whole(2, PowerState::kWaking, 2)};
  CHECK(ChooseToWake(waking, {.answers = 19}, {}) == kNoMachine);
  CHECK(ChooseToWake(waking, {.answers = 19.1}, {}) == 1);
  CHECK(ChooseToWake({}, {.answers = 19}, {}) == kNoMachine);
}

TEST_CASE("what is short decides which kind of machine is woken") {
  const PowerMachine prompt_awake{.machine = 0, .price = 1, .requests_per_s = 1};
  const PowerMachine token_awake{.machine = 1, .price = 1, .answers = 10};
  const PowerMachine prompt{.machine = 2, .state = PowerState::kParked, .price = 9, .requests_per_s = 1};
  const PowerMachine token{.machine = 3, .state = PowerState::kParked, .price = 1, .answers = 10};
  const std::vector<PowerMachine> machines{prompt_awake, token_awake, prompt, token};

  CHECK(ChooseToWake(machines, {.answers = 1, .requests_per_s = 2}, {}) == 2);
  CHECK(ChooseToWake(machines, {.answers = 20, .requests_per_s = 0.1}, {}) == 3);
}

TEST_CASE("machines are spare that are dearer than what has room") {
  const std::vector<PowerMachine> machines{Whole(0, PowerState::kAwake, 3), Whole(1, PowerState::kAwake, 1),
                                           Whole(2, PowerState::kAwake, 2), Whole(3, PowerState::kParked, 1)};
  using Spare = std::vector<MachineIndex>;
  CHECK(SpareMachines(machines, {}, {}) == Spare{2, 0});  // one is always needed
  CHECK(SpareMachines(machines, {.answers = 8}, {}) == Spare{2, 0});
  CHECK(SpareMachines(machines, {.answers = 8.1}, {}) == Spare{0});
  CHECK(SpareMachines(machines, {.answers = 1, .requests_per_s = 1.7}, {}) == Spare{});
}

TEST_CASE("a machine is parked only where the others have room to spare, and never the last of its kind") {
  const std::vector<PowerMachine> machines{Whole(0, PowerState::kAwake, 1), Whole(1, PowerState::kAwake, 2),
                                           Whole(2, PowerState::kWaking, 3)};
  CHECK(MayPark(1, machines, {.answers = 8, .requests_per_s = 0.8}, {}));
  CHECK_FALSE(MayPark(1, machines, {.answers = 8.1}, {}));
  CHECK_FALSE(MayPark(1, machines, {.answers = 0, .requests_per_s = 0.81}, {}));

  const std::vector<PowerMachine> last{Whole(0, PowerState::kAwake, 1), Whole(1, PowerState::kParked, 2)};
  CHECK_FALSE(MayPark(0, last, {}, {}));

  const std::vector<PowerMachine> pair{{.machine = 0, .price = 1, .requests_per_s = 1},
                                       {.machine = 1, .price = 1, .requests_per_s = 1},
                                       {.machine = 2, .price = 1, .answers = 10}};
  CHECK(MayPark(1, pair, {}, {}));
  CHECK_FALSE(MayPark(2, pair, {}, {}));
}

}  // namespace baton::router
