#include "simulator/plan/search.h"

#include <atomic>
#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"

namespace baton::simulator {
namespace {

/// A world in which capacities add up: a fleet is feasible where both phases carry the rate. Some machines'
/// true capacity is not what the columns guess.
struct World {
  std::vector<Column> columns;
  std::vector<double> truth;  // capacity of one machine of each column
  double lent = 0;            // share of idle capacity that one phase lends to the other

  [[nodiscard]] Probe Ask(const FleetSpec& fleet, double rate) const {
    std::array<double, 3> capacity{};
    for (const PoolSpec& pool : fleet.pools) {
      for (std::size_t i = 0; i < columns.size(); ++i) {
        if (columns[i].role == pool.role && columns[i].machine == pool.machine) {
          capacity[static_cast<std::size_t>(pool.role)] += pool.machines * truth[i];
        }
      }
    }
    double prefill = capacity[0];
    double decode = capacity[1];
    if (prefill > 0 && decode > 0 && lent > 0) {
      const double spare_p = std::max(0.0, prefill - rate);
      const double spare_d = std::max(0.0, decode - rate);
      prefill += lent * spare_d;
      decode += lent * spare_p;
    }
    prefill += capacity[2];
    decode += capacity[2];
    const double served = std::min(prefill, decode);
    Probe probe;
    probe.tightest = served > 0 ? rate / served : std::numeric_limits<double>::infinity();
    probe.feasible = probe.tightest <= 1;
    probe.binding = prefill < decode ? "ttft_p99" : "tbt_p99";
    return probe;
  }
};

World RandomWorld(std::uint64_t seed, int types) {
  RandomStream chance(seed);
  World world;
  for (int type = 0; type < types; ++type) {
    for (const PoolRole role : {PoolRole::kPrefill, PoolRole::kDecode, PoolRole::kMixed}) {
      const double truth = 0.7 + 4 * chance.Uniform();
      world.columns.push_back({.role = role,
                               .machine = fmt::format("m{}", type),
                               .capacity = truth * (0.6 + 0.9 * chance.Uniform()),
                               .dollars_per_hour = 1 + std::round(40 * chance.Uniform()) / 4,
                               .watts = 100 + std::round(1000 * chance.Uniform())});
      world.truth.push_back(truth);
    }
    for (std::size_t i = 1; i < 3; ++i) {  // a machine costs the same in every role
      auto& first = world.columns[world.columns.size() - 3];
      world.columns[world.columns.size() - i].dollars_per_hour = first.dollars_per_hour;
      world.columns[world.columns.size() - i].watts = first.watts;
    }
  }
  world.lent = seed % 2 == 0 ? 0 : 0.6;
  return world;
}

double Price(const Candidate& candidate, Objective objective) {
  if (objective == Objective::kCheapest) return candidate.dollars_per_hour;
  return objective == Objective::kLowestPower ? candidate.watts : candidate.machines;
}

double CheapestByBruteForce(const World& world, const SearchOptions& options) {
  double best = std::numeric_limits<double>::infinity();
  const auto consider = [&](std::vector<const Column*> columns, std::vector<int> counts) {
    Candidate candidate{.fleet = {}};
    for (std::size_t i = 0; i < columns.size(); ++i) {
      candidate.fleet.pools.push_back(
          {.role = columns[i]->role, .machine = columns[i]->machine, .machines = counts[i]});
      candidate.dollars_per_hour += counts[i] * columns[i]->dollars_per_hour;
      candidate.watts += counts[i] * columns[i]->watts;
      candidate.machines += counts[i];
    }
    if (candidate.machines > options.budget.machines || candidate.watts > options.budget.watts) return;
    if (world.Ask(candidate.fleet, options.rate).feasible)
      best = std::min(best, Price(candidate, options.objective));
  };
  for (const Column& first : world.columns) {
    for (int n = 1; n <= 40 && first.role == PoolRole::kMixed; ++n) consider({&first}, {n});
    if (first.role != PoolRole::kPrefill) continue;
    for (const Column& second : world.columns) {
      for (int n = 1; n <= 40 && second.role == PoolRole::kDecode; ++n) {
        for (int m = 1; m <= 40; ++m) consider({&first, &second}, {n, m});
      }
    }
  }
  return best;
}

Recommendation Ask(const World& world, const SearchOptions& options) {
  auto result = Recommend(
      world.columns, [&](const FleetSpec& fleet, double rate) { return world.Ask(fleet, rate); }, options);
  REQUIRE(result.ok());
  return *std::move(result);
}

TEST_CASE("the fleet found is at least as cheap as the cheapest that brute force finds") {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const World world = RandomWorld(seed, 3);
    for (const Objective objective :
         {Objective::kCheapest, Objective::kLowestPower, Objective::kFewestMachines}) {
      const SearchOptions options{.objective = objective, .rate = 20, .jobs = 1};

      const Recommendation found = Ask(world, options);

      REQUIRE(found.best);
      CHECK(world.Ask(found.best->fleet, 20).feasible);
      INFO("seed " << seed << " objective " << static_cast<int>(objective));
      CHECK(Price(*found.best, objective) <= CheapestByBruteForce(world, options) + 1e-9);
    }
  }
}

TEST_CASE("of two fleets that cost the same the one with more room is recommended") {
  const auto column = [](PoolRole role, double capacity) {
    return Column{.role = role, .machine = "a", .capacity = capacity, .dollars_per_hour = 0.1, .watts = 7};
  };
  // Two machines carry 9 either way: apart with a tenth to spare, and the search looks there first; mixed
  // with a quarter.
  const World world{
      .columns = {column(PoolRole::kPrefill, 10), column(PoolRole::kDecode, 10), column(PoolRole::kMixed, 4)},
      .truth = {10, 10, 6}};

  const Recommendation found = Ask(world, {.objective = Objective::kCheapest, .rate = 9, .jobs = 1});

  REQUIRE(found.best);
  CHECK(found.best->machines == 2);
  CHECK(found.best->probe.tightest == Approx(0.75));
  REQUIRE(found.runner_up);
  CHECK(found.runner_up->probe.tightest == Approx(0.9));
}

TEST_CASE("the search evaluates a small part of the grid") {
  const World world = RandomWorld(4, 4);

  const Recommendation found = Ask(world, {.objective = Objective::kCheapest, .rate = 100, .jobs = 1});

  // 16 pairs of up to about 140 x 140 machines.
  CHECK(found.evaluations < 600);
}

TEST_CASE("a budget is kept, and what it forbids is not bought") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const World world = RandomWorld(seed, 3);
    SearchOptions options{.objective = Objective::kCheapest, .rate = 20, .jobs = 1};
    options.budget.machines = 14;
    options.budget.watts = 9000;
    const double expected = CheapestByBruteForce(world, options);

    const Recommendation found = Ask(world, options);

    INFO("seed " << seed);
    if (std::isinf(expected)) {
      if (found.best)
        CHECK(found.best->fleet.pools.size() > 2);  // a mixture of types, which brute force leaves out
      continue;
    }
    REQUIRE(found.best);
    CHECK(found.best->dollars_per_hour <= expected + 1e-9);
    CHECK(found.best->machines <= 14);
    CHECK(found.best->watts <= 9000 * (1 + 1e-9));
  }
}

TEST_CASE("two types inside a role are bought where that is cheaper than one") {
  World world;
  world.columns = {
      {.role = PoolRole::kPrefill, .machine = "p", .capacity = 10, .dollars_per_hour = 1, .watts = 1},
      {.role = PoolRole::kDecode, .machine = "big", .capacity = 10, .dollars_per_hour = 10, .watts = 1},
      {.role = PoolRole::kDecode, .machine = "small", .capacity = 1, .dollars_per_hour = 1.2, .watts = 1}};
  world.truth = {10, 10, 1};

  const Recommendation found = Ask(world, {.objective = Objective::kCheapest, .rate = 31, .jobs = 1});

  REQUIRE(found.best);
  CHECK(found.best->dollars_per_hour == Approx(4 * 1 + 3 * 10 + 1.2));
}

TEST_CASE("a fleet with a spare holds after the loss of any machine") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const World world = RandomWorld(seed, 2);
    const Recommendation found = Ask(world, {.objective = Objective::kCheapest, .rate = 15, .jobs = 1});

    REQUIRE(found.spare);
    for (std::size_t i = 0; i < found.spare->fleet.pools.size(); ++i) {
      FleetSpec less = found.spare->fleet;
      --less.pools[i].machines;
      CHECK(world.Ask(less, 15).feasible);
    }
    REQUIRE(found.one_less.size() == found.best->fleet.pools.size());
    for (const Neighbour& neighbour : found.one_less) CHECK_FALSE(neighbour.candidate.probe.binding.empty());
  }
}

TEST_CASE("headroom is the share by which the rate may grow") {
  World world;
  world.columns = {
      {.role = PoolRole::kMixed, .machine = "m", .capacity = 10, .dollars_per_hour = 1, .watts = 1}};
  world.truth = {10};

  const Recommendation found = Ask(world, {.objective = Objective::kCheapest, .rate = 16, .jobs = 1});

  REQUIRE(found.best);
  CHECK(found.best->machines == 2);
  CHECK(found.headroom == Approx(0.25).margin(0.02));
}

TEST_CASE("the highest rate within a budget is found to a percent of brute force") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    World world = RandomWorld(seed, 2);
    world.lent = 0;
    SearchOptions options{.objective = Objective::kMaxRate, .rate = 10, .jobs = 1};
    options.budget.machines = 20;
    double expected = 0;
    for (std::size_t a = 0; a < world.columns.size(); ++a) {
      if (world.columns[a].role == PoolRole::kMixed) expected = std::max(expected, 20 * world.truth[a]);
      for (std::size_t b = 0; b < world.columns.size(); ++b) {
        for (int n = 1; n < 20; ++n) {
          if (world.columns[a].role != PoolRole::kPrefill || world.columns[b].role != PoolRole::kDecode)
            continue;
          expected = std::max(expected, std::min(n * world.truth[a], (20 - n) * world.truth[b]));
        }
      }
    }

    const Recommendation found = Ask(world, options);

    REQUIRE(found.best);
    INFO("seed " << seed);
    CHECK(found.best->rate <= expected * (1 + 1e-9));
    CHECK(found.best->rate >= expected * 0.975);
  }
}

TEST_CASE("the fastest fleet spends the budget where it helps most") {
  World world;
  world.columns = {
      {.role = PoolRole::kPrefill, .machine = "m", .capacity = 1, .dollars_per_hour = 1, .watts = 1},
      {.role = PoolRole::kDecode, .machine = "m", .capacity = 3, .dollars_per_hour = 1, .watts = 1}};
  world.truth = {1, 3};
  SearchOptions options{.objective = Objective::kFastest, .rate = 5, .jobs = 1};
  options.budget.dollars_per_hour = 40;

  const Recommendation found = Ask(world, options);

  REQUIRE(found.best);
  CHECK(found.best->fleet.pools[0].machines == 30);
  CHECK(found.best->fleet.pools[1].machines == 10);
}

TEST_CASE("the recommendation does not depend on the number of threads") {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const World world = RandomWorld(seed, 4);
    const Recommendation one = Ask(world, {.objective = Objective::kCheapest, .rate = 30, .jobs = 1});
    const Recommendation four = Ask(world, {.objective = Objective::kCheapest, .rate = 30, .jobs = 4});

    CHECK(one.best->dollars_per_hour == four.best->dollars_per_hour);
    REQUIRE(one.designs.size() == four.designs.size());
    for (std::size_t i = 0; i < one.designs.size(); ++i) {
      CHECK(one.designs[i].dollars_per_hour == four.designs[i].dollars_per_hour);
      CHECK(one.designs[i].machines == four.designs[i].machines);
    }
    CHECK(one.headroom == four.headroom);
  }
}

TEST_CASE("nothing is recommended where nothing holds") {
  World world = RandomWorld(1, 2);
  for (double& truth : world.truth) truth = 0;

  CHECK_FALSE(Ask(world, {.objective = Objective::kCheapest, .rate = 20, .jobs = 1}).best);
}

TEST_CASE("a guess that is ten times too low does not hide the fleet that holds") {
  World world;
  for (const PoolRole role : {PoolRole::kPrefill, PoolRole::kDecode, PoolRole::kMixed}) {
    world.columns.push_back(
        {.role = role, .machine = "m", .capacity = 10, .dollars_per_hour = 1, .watts = 100});
    world.truth.push_back(role == PoolRole::kMixed ? 0 : 1);
  }

  const Recommendation split = Ask(world, {.objective = Objective::kCheapest, .rate = 100, .jobs = 1});
  world.truth = {0, 0, 1};
  const Recommendation mixed = Ask(world, {.objective = Objective::kCheapest, .rate = 100, .jobs = 1});
  world.truth = {0, 0, 0.1};
  const Recommendation none = Ask(world, {.objective = Objective::kCheapest, .rate = 100, .jobs = 1});

  REQUIRE(split.best);
  CHECK(split.best->machines == 200);
  REQUIRE(mixed.best);
  CHECK(mixed.best->machines == 100);
  CHECK_FALSE(none.best);  // a thousand would do
  CHECK(none.evaluations == 2 * 5);
}

TEST_CASE("an interrupted search returns what it has found") {
  const World world = RandomWorld(2, 4);
  SearchOptions options{.objective = Objective::kCheapest, .rate = 100, .jobs = 1};
  options.progress = [](int evaluations) { return evaluations < 40; };

  const Recommendation found = Ask(world, options);

  CHECK(found.interrupted);
  CHECK(found.evaluations == 40);
  REQUIRE(found.best);
  CHECK(world.Ask(found.best->fleet, 100).feasible);
}

TEST_CASE("an evaluator's error ends the search and is returned") {
  const World world = RandomWorld(2, 2);
  const auto result = Recommend(world.columns,
                                [](const FleetSpec&, double) -> absl::StatusOr<Probe> {
                                  return Error(kNotFound, "machine m0: unknown");
                                },
                                {.objective = Objective::kCheapest, .rate = 10, .jobs = 2});

  CHECK(Message(result.status()) == "machine m0: unknown");
}

TEST_CASE("objectives that spend a budget ask for one") {
  const World world = RandomWorld(2, 2);
  const auto result =
      Recommend(world.columns, [&](const FleetSpec& fleet, double rate) { return world.Ask(fleet, rate); },
                {.objective = Objective::kMaxRate, .rate = 10});

  CHECK(Message(result.status()) == "objective max-rate needs a budget: dollars an hour, watts or machines");
}

}  // namespace
}  // namespace baton::simulator
