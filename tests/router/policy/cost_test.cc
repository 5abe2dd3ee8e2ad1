#include "router/policy/cost.h"

#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::router {
namespace {

constexpr CostWeights kEnergyOnly = {.per_machine_dollar = 0, .per_joule = 1};
constexpr CostRequest kRequest = {.prompt_tokens = 1000, .answer_tokens = 100, .kv_tokens = 1200};
constexpr CostObjectives kObjectives = {.ttft_s = 1, .tbt_s = 0.05};

PrefillCandidate Fast(MachineIndex machine) {
  return {.machine = machine, .prompt_s = 0.1, .watts = 7000, .idle_watts = 2800, .dollars_per_hour = 24};
}
PrefillCandidate Slow(MachineIndex machine) {
  return {.machine = machine, .prompt_s = 0.25, .watts = 4000, .idle_watts = 1500, .dollars_per_hour = 11};
}
/// Eight sequences run; one more adds a millisecond to a step.
DecodeCandidate Running(MachineIndex machine) {
  return {.machine = machine,
          .sequences = 8,
          .step_s = 0.030,
          .step_with_s = 0.031,
          .watts = 3000,
          .watts_with = 3020,
          .free_tokens = 50'000,
          .dollars_per_hour = 11};
}
DecodeCandidate Parked(MachineIndex machine) {
  return {.machine = machine,
          .step_with_s = 0.028,
          .watts_with = 2900,
          .free_tokens = 80'000,
          .dollars_per_hour = 11};
}

TEST_CASE("a prompt costs the machine's time and what it draws above idle") {
  const MarginalCost cost = CostOf(Fast(0), {.per_machine_dollar = 1, .per_joule = 1e-6});

  CHECK(cost.joules == Approx(0.1 * 4200));
  CHECK(cost.dollars == Approx(0.1 / 3600 * 24));
  CHECK(cost.weighed == Approx(cost.dollars + 420e-6));
}

TEST_CASE("an answer that joins others pays for what it slows, one alone for the machine") {
  const MarginalCost joins = CostOf(Running(0), 100, kEnergyOnly);
  const MarginalCost alone = CostOf(Parked(0), 100, kEnergyOnly);

  CHECK(joins.joules == Approx(100 * (0.031 * 3020 - 0.030 * 3000)));
  CHECK(alone.joules == Approx(100 * 0.028 * 2900));
  CHECK(alone.dollars == Approx(100 * 0.028 / 3600 * 11));
}

TEST_CASE("one more sequence never earns anything, whatever noise says") {
  DecodeCandidate odd = Running(0);
  odd.step_with_s = 0.029;

  CHECK(CostOf(odd, 100, kEnergyOnly).joules == 0);
  CHECK(CostOf(odd, 100, kEnergyOnly).dollars == 0);
}

TEST_CASE("the cheapest pair is taken that is in time, not the fastest") {
  const std::vector<PrefillCandidate> prefill = {Fast(0), Slow(1)};
  const std::vector<DecodeCandidate> decode = {Parked(2), Running(3)};

  const CostPlacement placed = PlaceByCost(kRequest, prefill, decode, kObjectives, {});

  CHECK(placed.pair == MachinePair{.prompt = 0, .token = 3});  // 0.1 s at $24 against 0.25 s at $11
  CHECK_FALSE(placed.refusal.has_value());
  CHECK(placed.ttft_s == Approx(0.1));
  CHECK(placed.tbt_s == Approx(0.031));
  CHECK(placed.cost.weighed == Approx(CostOf(Fast(0), {}).weighed + CostOf(Running(3), 100, {}).weighed));
}

TEST_CASE("weights decide between money and energy") {
  PrefillCandidate cheap = Slow(1);
  cheap.prompt_s = 0.2;
  cheap.watts = 9000;
  const std::vector<PrefillCandidate> prefill = {Fast(0), cheap};
  const std::vector<DecodeCandidate> decode = {Running(3)};

  const CostWeights money = {.per_machine_dollar = 1, .per_joule = 0};
  CHECK(PlaceByCost(kRequest, prefill, decode, kObjectives, money).pair.prompt == 1);
  CHECK(PlaceByCost(kRequest, prefill, decode, kObjectives, kEnergyOnly).pair.prompt == 0);
}

TEST_CASE("a cheap machine that would be late is passed over, with its uncertainty counted") {
  std::vector<PrefillCandidate> prefill = {Slow(0), Fast(1)};
  prefill[1].dollars_per_hour = 1000;
  const std::vector<DecodeCandidate> decode = {Running(3)};
  CHECK(PlaceByCost(kRequest, prefill, decode, kObjectives, {}).pair.prompt == 0);

  prefill[0].wait_s = 0.7;
  CHECK(PlaceByCost(kRequest, prefill, decode, kObjectives, {}).pair.prompt == 0);
  prefill[0].sigma_s = 0.06;
  CHECK(PlaceByCost(kRequest, prefill, decode, kObjectives, {}).pair.prompt == 1);
  CostObjectives bold = kObjectives;
  bold.sigmas = 0;
  CHECK(PlaceByCost(kRequest, prefill, decode, bold, {}).pair.prompt == 0);
}

TEST_CASE("a request that nobody can serve in time is refused with the objective that fails") {
  PrefillCandidate late = Fast(0);
  late.wait_s = 2;
  DecodeCandidate crowded = Running(1);
  crowded.step_with_s = 0.06;
  DecodeCandidate full = Running(2);
  full.free_tokens = 1199;

  const auto refusal = [](const PrefillCandidate& prefill, const DecodeCandidate& decode) {
    return PlaceByCost(kRequest, {&prefill, 1}, {&decode, 1}, kObjectives, {}).refusal;
  };
  CHECK(refusal(late, Running(1)) == CostRefusal::kTtft);
  CHECK(refusal(Fast(0), crowded) == CostRefusal::kTbt);
  CHECK(refusal(Fast(0), full) == CostRefusal::kMemory);
  CHECK(PlaceByCost(kRequest, {}, {&full, 1}, kObjectives, {}).refusal == CostRefusal::kNoMachines);
  CHECK(PlaceByCost(kRequest, {&late, 1}, {&full, 1}, kObjectives, {}).pair == MachinePair{});
  for (const auto value :
       {CostRefusal::kNoMachines, CostRefusal::kTtft, CostRefusal::kTbt, CostRefusal::kMemory}) {
    CHECK_FALSE(Name(value).empty());
  }
}

TEST_CASE("best effort places least late where nothing is in time, but never without memory") {
  std::vector<PrefillCandidate> prefill = {Fast(0), Fast(1)};
  prefill[0].wait_s = 3;
  prefill[1].wait_s = 2;
  std::vector<DecodeCandidate> decode = {Running(2), Running(3)};
  decode[0].step_with_s = 0.07;
  decode[1].step_with_s = 0.08;
  CostObjectives objectives = kObjectives;
  objectives.best_effort = true;

  const CostPlacement placed = PlaceByCost(kRequest, prefill, decode, objectives, {});
  CHECK(placed.pair == MachinePair{.prompt = 1, .token = 2});
  CHECK(placed.late);

  for (DecodeCandidate& candidate : decode) candidate.free_tokens = 0;
  CHECK(PlaceByCost(kRequest, prefill, decode, objectives, {}).refusal == CostRefusal::kMemory);
}

TEST_CASE("a machine whose memory would soon end is passed over") {
  std::vector<DecodeCandidate> decode = {Running(0), Running(1)};
  decode[0].free_tokens = 1200 + 9 * 10;  // ten steps of nine sequences: 0.31 s
  decode[1].step_with_s = 0.04;           // dearer
  const PrefillCandidate prefill = Fast(5);
  CostObjectives objectives = kObjectives;

  objectives.freeness_min_s = 0.30;
  CHECK(PlaceByCost(kRequest, {&prefill, 1}, decode, objectives, {}).pair.token == 0);
  objectives.freeness_min_s = 0.32;
  CHECK(PlaceByCost(kRequest, {&prefill, 1}, decode, objectives, {}).pair.token == 1);
}

TEST_CASE("waking a parked machine counts only beyond the prompt's end") {
  DecodeCandidate parked = Parked(1);
  const PrefillCandidate prefill = Fast(0);

  parked.ready_in_s = 0.1;
  CHECK(PlaceByCost(kRequest, {&prefill, 1}, {&parked, 1}, kObjectives, {}).tbt_s == Approx(0.028));
  parked.ready_in_s = 2.1;
  CHECK(PlaceByCost(kRequest, {&prefill, 1}, {&parked, 1}, kObjectives, {}).tbt_s == Approx(0.048));
  parked.ready_in_s = 3.1;
  CHECK(PlaceByCost(kRequest, {&prefill, 1}, {&parked, 1}, kObjectives, {}).refusal == CostRefusal::kTbt);
}

TEST_CASE("of equals the lower machine is taken, in whatever order they come") {
  const std::vector<PrefillCandidate> prefill = {Fast(4), Fast(2), Fast(3)};
  const std::vector<DecodeCandidate> decode = {Running(9), Running(7)};

  CHECK(PlaceByCost(kRequest, prefill, decode, kObjectives, {}).pair == MachinePair{.prompt = 2, .token = 7});
}

TEST_CASE("a forecast lets answers end, grow and arrive") {
  const std::vector<InFlight> in_flight = {{.arrives_in_s = 1, .context_tokens = 500},
                                           {.arrives_in_s = 9, .context_tokens = 500}};
  const DecodeNow now = {.sequences = 10,
                         .context_tokens = 10'000,
                         .step_s = 0.02,
                         .remaining_tokens = 100,
                         .in_flight = in_flight};

  const DecodeForecast same = ForecastDecode(now, 0);
  const DecodeForecast later = ForecastDecode(now, 2);

  CHECK(same.sequences == Approx(10));
  CHECK(same.context_tokens == Approx(10'000));
  CHECK(later.sequences == Approx(10 * std::exp(-1) + std::exp(-0.5)));  // a life is 2 s
  CHECK(later.context_tokens == Approx(10 * std::exp(-1) * 1100 + std::exp(-0.5) * 550));
}

TEST_CASE("a machine with nothing is forecast to have nothing") {
  CHECK(ForecastDecode({}, 5).sequences == 0);
  CHECK(ForecastDecode({}, 5).context_tokens == 0);
}

}  // namespace
}  // namespace baton::router
