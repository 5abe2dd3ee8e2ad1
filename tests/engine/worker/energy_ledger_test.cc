#include "engine/worker/energy_ledger.h"

#include <numeric>

#include <catch2/catch.hpp>

#include "common/base/random.h"

namespace baton::engine {
namespace {

using std::chrono::milliseconds;

RequestKey Key(std::uint64_t id) {
  return {RequestId(id), Attempt(1)};
}

std::int64_t Sum(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

StepReport Step(Duration duration, std::vector<StepPart> parts) {
  return {.duration = duration, .parts = std::move(parts)};
}

TEST_CASE("parts add up to the whole, exactly, and each is its share to within one") {
  RandomStream random(1);
  for (int round = 0; round < 200; ++round) {
    const std::int64_t total = random.Between(0, 1'000'000'000'000);
    std::vector<std::int64_t> weights(static_cast<std::size_t>(random.Between(1, 300)));
    for (std::int64_t& weight : weights) weight = random.Between(0, std::int64_t{1} << random.Between(0, 55));
    weights.front() += 1;
    const auto sum = std::accumulate(weights.begin(), weights.end(), 0.0L);

    const std::vector<std::int64_t> parts = SplitExactly(total, weights);

    REQUIRE(Sum(parts) == total);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const long double wanted = static_cast<long double>(total) * static_cast<long double>(weights[i]) / sum;
      REQUIRE(std::abs(static_cast<long double>(parts[i]) - wanted) < 1.001L);
    }
  }
}

TEST_CASE("a step's weights are shared by tokens, and the KV that a sequence reads is its own") {
  const StepCost cost{.weights = 1000, .kv_position = 10};
  const std::vector<StepPart> alike = {{.key = Key(1), .tokens = 1, .positions = 50},
                                       {.key = Key(2), .tokens = 3, .positions = 50}};

  // 250 + 500 and 750 + 500 of 2000.
  CHECK(ShareStep(alike, cost, Duration(2000)) == std::vector<std::int64_t>{750, 1250});

  const std::vector<StepPart> long_one = {{.key = Key(1), .tokens = 1, .positions = 0},
                                          {.key = Key(2), .tokens = 1, .positions = 300}};
  CHECK(ShareStep(long_one, cost, Duration(4000)) == std::vector<std::int64_t>{500, 3500});
}

TEST_CASE("the cost of a token follows the model's shape, of experts those that it passes") {
  ModelConfig model{.hidden = 8, .intermediate = 20, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 2};
  model.vocabulary = 100;
  const std::int64_t attention = 8 * (2 * 4 * 2 + 2 * 2 * 2);
  CHECK(CostOf(model).weights == 800 + 2 * (attention + 3 * 8 * 20));
  CHECK(CostOf(model).kv_position == 2 * 2 * 2 * 2);

  model.has_experts = {false, true};
  model.experts = {.count = 16, .chosen = 2, .intermediate = 5, .shared_intermediate = 3};
  CHECK(CostOf(model).weights == 800 + 2 * attention + 3 * 8 * 20 + 3 * 8 * 13);
}

TEST_CASE("all that was measured is somebody's: the requests' by their shares, the rest idle") {
  EnergyLedger ledger({.weights = 1, .kv_position = 0});
  CHECK(ledger.Close(2'000'000, milliseconds(1000)).idle_uj == 2'000'000);
  CHECK(ledger.IdleWatts() == 2);
  ledger.OnStep(Step(milliseconds(300), {{.key = Key(1), .tokens = 3}}));
  ledger.OnStep(Step(milliseconds(100), {{.key = Key(1), .tokens = 1, .decoding = true},
                                         {.key = Key(2), .tokens = 1, .decoding = true}}));
  ledger.OnEnded(Key(1));

  const EnergyWindow window = ledger.Close(5'000'000, milliseconds(500));

  CHECK(window.idle_uj == 200'000);  // 2 W over what is not within steps
  CHECK(window.prompt_uj == 3'600'000);
  CHECK(window.answer_uj == 1'200'000);
  CHECK(window.busy == milliseconds(400));
  CHECK(window.ended_uj == std::vector<std::int64_t>{4'200'000});
}

TEST_CASE("a request's energy is told once, when it has ended, over all readings") {
  EnergyLedger ledger({.weights = 1, .kv_position = 0});
  for (int i = 0; i < 3; ++i) {
    ledger.OnStep(Step(milliseconds(10), {{.key = Key(7), .tokens = 1}}));
    CHECK(ledger.Close(1000, milliseconds(10)).ended_uj.empty());
  }
  ledger.OnEnded(Key(7));
  ledger.OnEnded(Key(8));  // was never computed

  CHECK(ledger.Close(500, milliseconds(10)).ended_uj == std::vector<std::int64_t>{3000});
  CHECK(ledger.Close(500, milliseconds(10)).ended_uj.empty());
}

TEST_CASE("random work: what readings say and what is attributed never differ") {
  RandomStream random(3);
  EnergyLedger ledger({.weights = 1'000'000'000, .kv_position = 65536});
  std::int64_t measured = 0;
  std::int64_t attributed = 0;
  std::int64_t phases = 0;
  std::int64_t ended = 0;
  for (int window = 0; window < 300; ++window) {
    const std::int64_t steps = random.Between(0, 5);
    for (std::int64_t s = 0; s < steps; ++s) {
      std::vector<StepPart> parts;
      for (std::uint64_t id = 1; id <= static_cast<std::uint64_t>(random.Between(1, 20)); ++id) {
        parts.push_back({.key = Key(id),
                         .tokens = random.Between(1, 512),
                         .positions = random.Between(1, 100'000),
                         .decoding = id % 2 == 0});
      }
      ledger.OnStep(Step(Duration(random.Between(0, 100'000'000)), parts));
    }
    if (window % 10 == 9) ledger.OnEnded(Key(static_cast<std::uint64_t>(random.Between(1, 20))));
    if (window == 298) {
      for (std::uint64_t id = 1; id <= 20; ++id) ledger.OnEnded(Key(id));
    }
    const std::int64_t energy = window == 299 ? 0 : random.Between(0, 50'000'000);
    const EnergyWindow out = ledger.Close(energy, Duration(random.Between(1, 300'000'000)));
    measured += energy;
    attributed += out.prompt_uj + out.answer_uj + out.idle_uj;
    phases += out.prompt_uj + out.answer_uj;
    ended += Sum(out.ended_uj);
    if (window == 298) break;
  }
  CHECK(attributed == measured);
  CHECK(ended == phases);
}

}  // namespace
}  // namespace baton::engine
