#include "router/policy/migration.h"

#include <catch2/catch.hpp>

namespace baton::router {
namespace {

DecodeLoad Load(MachineIndex machine, std::int64_t free_tokens, std::int64_t sequences,
                double step_s = 0.05) {
  return {.machine = machine, .free_tokens = free_tokens, .sequences = sequences, .step_s = step_s};
}

}  // namespace

TEST_CASE("freeness is in seconds, so that a slow machine with as much memory is freer for longer") {
  CHECK(FreenessSeconds(Load(0, 1000, 10, 0.02)) == Approx(2));
  CHECK(FreenessSeconds(Load(0, 1000, 10, 0.04)) == Approx(4));
  DecodeLoad waited_for = Load(0, 100, 10, 0.02);
  waited_for.wanted_tokens = 600;
  CHECK(FreenessSeconds(waited_for) == Approx(-1));
}

TEST_CASE("the least free machine sends to the freest") {
  const std::vector<DecodeLoad> loads{Load(0, 5, 10), Load(1, 50'000, 10), Load(2, 0, 10),
                                      Load(3, 90'000, 10), Load(4, 500, 10)};
  CHECK(PairMigrations(loads, {}) == std::vector<MachineMove>{{2, 3}, {0, 1}});
}

TEST_CASE("nothing moves between machines that are all full, or all free") {
  CHECK(PairMigrations(std::vector<DecodeLoad>{Load(0, 0, 9), Load(1, 1, 9)}, {}).empty());
  CHECK(PairMigrations(std::vector<DecodeLoad>{Load(0, 90'000, 9), Load(1, 90'000, 9)}, {}).empty());
}

TEST_CASE("a machine that drains sends first and receives nothing") {
  std::vector<DecodeLoad> loads{Load(0, 0, 9), Load(1, 90'000, 9), Load(2, 90'000, 9)};
  loads[1].draining = true;
  CHECK(PairMigrations(loads, {}) == std::vector<MachineMove>{{1, 2}});
}

TEST_CASE("a machine that does nothing receives") {
  CHECK(PairMigrations(std::vector<DecodeLoad>{Load(0, 0, 9), Load(1, 1000, 0, 0)}, {}) ==
        std::vector<MachineMove>{{0, 1}});
}

}  // namespace baton::router
