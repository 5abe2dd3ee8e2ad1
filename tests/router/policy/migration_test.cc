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

namespace {

using cluster::Phase;

cluster::WorkerSnapshot Worker(std::uint32_t id, std::int64_t free_blocks, std::int64_t placed_tokens,
                               const std::vector<std::uint32_t>& peers) {
  cluster::WorkerSnapshot worker{.about = {.id = WorkerId(id),
                                           .phase = Phase::kDecode,
                                           .model = "m",
                                           .numerics_class = "c",
                                           .kv_blocks = 100,
                                           .context_tokens = 4096,
                                           .growth_blocks = 1}};
  worker.ready = true;
  worker.kv_blocks_free = free_blocks;
  worker.placed_tokens = placed_tokens;
  for (const std::uint32_t peer : peers) worker.links.push_back({.peer = WorkerId(peer), .ready = true});
  return worker;
}

cluster::ClusterSnapshot Three() {
  cluster::ClusterSnapshot snapshot;
  snapshot.workers = {Worker(1, 50, 10, {2, 3}), Worker(2, 50, 900, {1, 3}), Worker(3, 50, 500, {1, 2})};
  return snapshot;
}

constexpr MovableAnswer kAnswer{.at = WorkerId(1), .positions = 300, .tokens_max = 1000};

}  // namespace

TEST_CASE("an answer stays in its numerics class, even where the other worker takes others") {
  cluster::ClusterSnapshot snapshot = Three();
  snapshot.workers[2].about.numerics_class = "other";
  snapshot.workers[2].about.other_classes = true;
  CHECK(ChooseDestination(snapshot, kAnswer) == WorkerId(2));
}

TEST_CASE("an answer goes to the decode worker that holds the fewest tokens, never to where it is") {
  cluster::ClusterSnapshot snapshot = Three();
  CHECK(ChooseDestination(snapshot, kAnswer) == WorkerId(3));
  snapshot.workers[1].placed_tokens = 500;
  CHECK(ChooseDestination(snapshot, kAnswer) == WorkerId(2));
}

TEST_CASE("an answer goes to none that leaves, is not linked, is of another class, or has no room") {
  cluster::ClusterSnapshot snapshot = Three();
  cluster::WorkerSnapshot& third = snapshot.workers[2];
  SECTION("it leaves") {
    third.ready = false;
  }
  SECTION("it is not linked") {
    snapshot.workers[0].links[1].ready = false;
  }
  SECTION("another class") {
    third.about.numerics_class.push_back('d');
  }
  SECTION("no room now") {
    third.kv_blocks_free = 19;  // 301 positions and the growth take 20
  }
  SECTION("no room ever") {
    third.about.kv_blocks = 62;
  }
  SECTION("it prefills") {
    third.about.phase = Phase::kPrefill;
  }
  CHECK(ChooseDestination(snapshot, kAnswer) == WorkerId(2));
  snapshot.workers[1].ready = false;
  CHECK_FALSE(ChooseDestination(snapshot, kAnswer));
}

}  // namespace baton::router
