#include "router/policy/give_back.h"

#include <catch2/catch.hpp>

#include "tests/router/policy/clusters.h"

namespace baton::router {
namespace {

constexpr WorkerId kP{1};
constexpr WorkerId kP2{2};
constexpr WorkerId kD{101};

/// Two prefill workers and a decode worker that take part.
cluster::ClusterSnapshot Ready() {
  cluster::ClusterSnapshot snapshot = Cluster(2, 1);
  for (cluster::WorkerSnapshot& worker : snapshot.workers) worker.about.kv_returns = true;
  return snapshot;
}

cluster::WorkerSnapshot& Of(cluster::ClusterSnapshot& snapshot, WorkerId id) {
  return *std::find_if(snapshot.workers.begin(), snapshot.workers.end(),
                       [id](const auto& worker) { return worker.about.id == id; });
}

std::optional<WorkerId> Choose(const cluster::ClusterSnapshot& snapshot,
                               const std::vector<HeldPrefix>& held = {},
                               const std::map<WorkerId, std::int64_t>& under_way = {},
                               const GiveBackLimits& limits = {}, std::int64_t positions = 160) {
  return ChooseTaker(snapshot, {.at = kD, .positions = positions, .held = held}, limits, under_way);
}

TEST_CASE("an ended answer's KV goes where most of it is already, then where most is free, then by id") {
  cluster::ClusterSnapshot snapshot = Ready();
  CHECK(Choose(snapshot) == kP);
  CHECK(Choose(snapshot, {{kP2, 4}}) == kP2);
  CHECK(Choose(snapshot, {{kP, 5}, {kP2, 4}}) == kP);
  Of(snapshot, kP).kv_blocks_free = 50;
  CHECK(Choose(snapshot) == kP2);
  CHECK(Choose(snapshot, {{kP, 1}}) == kP);
}

TEST_CASE("KV goes back to a worker that could compute the same bits, and to no other") {
  cluster::ClusterSnapshot snapshot = Ready();
  cluster::WorkerSnapshot& first = Of(snapshot, kP);
  SECTION("of another numerics class") {
    first.about.numerics_class = "cpu-bf16";
  }
  SECTION("of another numerics class, though decode takes others") {
    first.about.numerics_class = "cpu-bf16";
    Of(snapshot, kD).about.other_classes = true;
  }
  SECTION("of another model") {
    first.about.model = "n";
  }
  SECTION("of another block size") {
    first.about.block_tokens = 32;
  }
  SECTION("without a cache, or with KV at a loss") {
    first.about.kv_returns = false;
  }
  SECTION("whose link is down") {
    first.links[0].ready = false;
  }
  SECTION("that leaves") {
    first.ready = false;
  }
  SECTION("without room") {
    first.kv_blocks_free = 35;
  }
  CHECK(Choose(snapshot, {{kP, 1}}) == kP2);
}

TEST_CASE("what is known of an answer counts in full blocks of the workers' own") {
  cluster::ClusterSnapshot snapshot = Ready();
  for (cluster::WorkerSnapshot& worker : snapshot.workers) worker.about.block_tokens = 48;
  CHECK(Choose(snapshot, {{kP, 8}, {kP2, 8}}, {}, {}, 144) == kP);  // two blocks of 48 are known, one is new
  CHECK(Choose(snapshot, {{kP, 9}, {kP2, 9}}, {}, {.tokens_min = 1}, 144) == std::nullopt);
}

TEST_CASE("where the decode worker needs its memory, leaves, or has KV at a loss, nothing goes back") {
  cluster::ClusterSnapshot snapshot = Ready();
  REQUIRE(Choose(snapshot) == kP);
  cluster::WorkerSnapshot& decode = Of(snapshot, kD);
  SECTION("memory") {
    decode.kv_blocks_free = 0;
  }
  SECTION("leaves") {
    decode.ready = false;
  }
  SECTION("loss") {
    decode.about.kv_returns = false;
  }
  SECTION("gone") {
    snapshot.workers.pop_back();
  }
  CHECK(Choose(snapshot) == std::nullopt);
}

TEST_CASE("what goes back is bounded: in tokens, in the share of memory, and in number") {
  const cluster::ClusterSnapshot snapshot = Ready();
  CHECK(Choose(snapshot, {{kP, 8}, {kP2, 8}}) == kP);  // 32 tokens are new
  CHECK(Choose(snapshot, {{kP, 9}, {kP2, 9}}) == std::nullopt);
  CHECK(Choose(snapshot, {{kP, 10}, {kP2, 10}}, {}, {.tokens_min = 1}) == std::nullopt);
  CHECK(Choose(snapshot, {}, {}, {}, 16 * 16) == kP);  // a quarter of 64 blocks
  CHECK(Choose(snapshot, {}, {}, {}, 17 * 16) == std::nullopt);
  CHECK(Choose(snapshot, {{kP2, 1}}, {}, {}, 17 * 16) == kP2);
  CHECK(Choose(snapshot, {}, {{kP, 4}}) == kP2);
  CHECK(Choose(snapshot, {}, {{kP, 3}, {kP2, 4}, {kD, 3}}) == kP);
  CHECK(Choose(snapshot, {}, {{kD, 4}}) == std::nullopt);
  CHECK(Choose(snapshot, {}, {}, {.enabled = false}) == std::nullopt);
}

}  // namespace
}  // namespace baton::router
