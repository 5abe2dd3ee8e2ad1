#include "common/cluster/view.h"

#include <vector>

#include <catch2/catch.hpp>

#include "common/base/random.h"

namespace baton::cluster {
namespace {

constexpr WorkerId kP{1};
constexpr WorkerId kD{2};
constexpr RequestId kRequest{77};
constexpr RequestKey kFirst{kRequest, Attempt{1}};

WorkerDescription About(WorkerId id, Phase phase) {
  return {.id = id,
          .name = "w",
          .phase = phase,
          .incarnation = Incarnation{9},
          .model = "m",
          .numerics_class = "c",
          .kv_blocks = 100,
          .block_tokens = 16,
          .context_tokens = 512,
          .batch_tokens = 512,
          .batch_sequences = 64};
}

LoadReport Ready(WorkerId peer, std::int64_t free = 100) {
  LoadReport load;
  load.ready = true;
  load.kv_blocks_free = free;
  load.links = {{peer, true, "tcp", 1e9}};
  return load;
}

class Cluster {
 public:
  Cluster() {
    Do(WorkerJoined{About(kP, Phase::kPrefill)});
    Do(WorkerJoined{About(kD, Phase::kDecode)});
    Do(LoadReported{kP, Ready(kD)});
    Do(LoadReported{kD, Ready(kP)});
  }
  template <typename T>
  void Do(T what) {
    view.Apply({TimePoint(Duration(++time_)), std::move(what)});
  }
  [[nodiscard]] WorkerSnapshot Look(WorkerId id) const {
    const ClusterSnapshot snapshot = view.Snapshot();
    REQUIRE(snapshot.Find(id) != nullptr);
    return *snapshot.Find(id);
  }
  ClusterView view;

 private:
  std::int64_t time_ = 0;
};

TEST_CASE("blocks are counted up to the next whole one") {
  CHECK(BlocksFor(0, 16) == 0);
  CHECK(BlocksFor(16, 16) == 1);
  CHECK(BlocksFor(17, 16) == 2);
}

TEST_CASE("workers are sorted by id whatever the order in which they joined") {
  ClusterView view;
  for (const unsigned id : {5U, 2U, 9U})
    view.Apply({TimePoint(), WorkerJoined{About(WorkerId{id}, Phase::kDecode)}});
  const ClusterSnapshot snapshot = view.Snapshot();
  REQUIRE(snapshot.workers.size() == 3);
  CHECK(snapshot.workers[0].about.id == WorkerId{2});
  CHECK(snapshot.workers[2].about.id == WorkerId{9});
  CHECK(snapshot.Find(WorkerId{3}) == nullptr);
}

TEST_CASE("a worker is not ready before it says so, nor once it leaves") {
  Cluster cluster;
  cluster.Do(WorkerJoined{About(WorkerId{3}, Phase::kDecode)});
  CHECK_FALSE(cluster.Look(WorkerId{3}).ready);
  CHECK(cluster.Look(kD).ready);
  cluster.Do(WorkerLeaving{kD});
  CHECK_FALSE(cluster.Look(kD).ready);
  CHECK(cluster.Look(kD).draining);
  cluster.Do(LoadReported{kD, Ready(kP)});
  CHECK_FALSE(cluster.Look(kD).ready);
}

TEST_CASE("a link is ready only where both ends say so") {
  Cluster cluster;
  CHECK(cluster.Look(kP).links.at(0).ready);
  LoadReport lost = Ready(kP);
  lost.links[0].ready = false;
  cluster.Do(LoadReported{kD, lost});
  CHECK_FALSE(cluster.Look(kP).links.at(0).ready);
  CHECK(cluster.Look(kP).links.at(0).bytes_per_second == 1e9);
}

TEST_CASE("a placement counts at once, before any report") {
  Cluster cluster;
  cluster.Do(RequestQueued{kRequest, 100, 164});
  CHECK(cluster.view.Snapshot().queued_prompt_tokens == 100);
  cluster.Do(RequestPlaced{kFirst, kP, kD});
  CHECK(cluster.Look(kP).queued_prompt_tokens == 100);
  CHECK(cluster.Look(kP).queued_requests == 1);
  CHECK(cluster.Look(kD).kv_blocks_free == 100 - 11);
  CHECK(cluster.Look(kD).placed_tokens == 164);
}

TEST_CASE("a decode worker whose answers grow is promised the prompt and its first growth") {
  WorkerDescription worker{.phase = Phase::kDecode, .kv_blocks = 100, .block_tokens = 16};
  CHECK(BlocksToBegin(worker, 100, 900) == 57);
  worker.growth_blocks = 2;
  CHECK(BlocksToBegin(worker, 100, 900) == 7 + 2);
  CHECK(BlocksToBegin(worker, 112, 900) == 8 + 2);
  CHECK(BlocksToBegin(worker, 100, 120) == 8);  // never more than it can need
  worker.phase = Phase::kPrefill;
  CHECK(BlocksToBegin(worker, 100, 900) == 7);
}

TEST_CASE("a report that already counts a placement does not count it twice") {
  Cluster cluster;
  cluster.Do(RequestQueued{kRequest, 100, 164});
  cluster.Do(RequestPlaced{kFirst, kP, kD});
  LoadReport load = Ready(kD, 93);
  load.queued_prompt_tokens = 100;
  load.queued_requests = 1;
  cluster.Do(LoadReported{kP, load});
  cluster.Do(LoadReported{kD, Ready(kP, 89)});
  CHECK(cluster.Look(kP).queued_prompt_tokens == 100);
  CHECK(cluster.Look(kD).kv_blocks_free == 89);
}

TEST_CASE("quarantined blocks are not free") {
  Cluster cluster;
  LoadReport load = Ready(kP, 100);
  load.kv_blocks_quarantined = 30;
  cluster.Do(LoadReported{kD, load});
  CHECK(cluster.Look(kD).kv_blocks_free == 70);
}

TEST_CASE("the first token ends the queueing, the releases the rest") {
  Cluster cluster;
  cluster.Do(RequestQueued{kRequest, 100, 164});
  cluster.Do(RequestPlaced{kFirst, kP, kD});
  cluster.Do(RequestPrefilled{kRequest});
  CHECK(cluster.Look(kP).queued_prompt_tokens == 0);
  CHECK(cluster.view.Snapshot().queued_requests == 0);
  cluster.Do(PartReleased{kFirst, kP});
  cluster.Do(RequestEnded{kRequest});
  CHECK(cluster.view.LiveRequests() == 1);
  CHECK(cluster.Look(kD).kv_blocks_free == 89);
  cluster.Do(PartReleased{kFirst, kD});
  CHECK(cluster.view.LiveRequests() == 0);
  CHECK(cluster.Look(kD).kv_blocks_free == 100);
}

TEST_CASE("a request that is resumed queues again, with the tokens of its answer") {
  Cluster cluster;
  cluster.Do(RequestQueued{kRequest, 100, 164});
  cluster.Do(RequestPlaced{kFirst, kP, kD});
  cluster.Do(RequestPrefilled{kRequest});
  cluster.Do(PartReleased{kFirst, kP});
  cluster.Do(WorkerLeft{kD});
  cluster.Do(RequestResumed{kRequest, 130});
  CHECK(cluster.view.Snapshot().queued_requests == 1);
  CHECK(cluster.view.Snapshot().queued_prompt_tokens == 130);
  cluster.Do(WorkerJoined{About(kD, Phase::kDecode)});
  cluster.Do(LoadReported{kD, Ready(kP)});
  cluster.Do(RequestPlaced{{kRequest, Attempt{2}}, kP, kD});
  CHECK(cluster.Look(kP).queued_prompt_tokens == 130);
  CHECK(cluster.Look(kD).kv_blocks_free == 89);  // 164 tokens as before
}

TEST_CASE("a release of another attempt frees nothing of this one") {
  Cluster cluster;
  cluster.Do(RequestQueued{kRequest, 100, 164});
  cluster.Do(RequestPlaced{{kRequest, Attempt{2}}, kP, kD});
  cluster.Do(PartReleased{kFirst, kD});
  CHECK(cluster.Look(kD).kv_blocks_free == 89);
}

TEST_CASE("a worker that leaves takes its parts along") {
  Cluster cluster;
  cluster.Do(RequestQueued{kRequest, 100, 164});
  cluster.Do(RequestPlaced{kFirst, kP, kD});
  cluster.Do(RequestEnded{kRequest});
  cluster.Do(WorkerLeft{kD});
  CHECK(cluster.view.LiveRequests() == 1);
  cluster.Do(WorkerLeft{kP});
  CHECK(cluster.view.LiveRequests() == 0);
  CHECK(cluster.view.Snapshot().workers.empty());
}

TEST_CASE("events about strangers change nothing") {
  Cluster cluster;
  cluster.Do(LoadReported{WorkerId{8}, Ready(kP)});
  cluster.Do(PartReleased{kFirst, kP});
  cluster.Do(RequestEnded{kRequest});
  cluster.Do(RequestPlaced{kFirst, kP, kD});
  CHECK(cluster.view.Snapshot().workers.size() == 2);
  CHECK(cluster.view.LiveRequests() == 0);
}

// Random but valid event streams; the accounts must add up whatever the order.
TEST_CASE("after every request has ended and been released, the whole memory is free again") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    RandomStream chance(seed);
    Cluster cluster;
    std::vector<RequestKey> placed;
    for (std::uint64_t n = 1; n <= 40; ++n) {
      const auto prompt = chance.Between(1, 300);
      cluster.Do(RequestQueued{RequestId{n}, prompt, prompt + chance.Between(1, 100)});
      if (chance.Uniform() < 0.8) {
        cluster.Do(RequestPlaced{{RequestId{n}, Attempt{1}}, kP, kD});
        placed.push_back({RequestId{n}, Attempt{1}});
      }
      if (chance.Uniform() < 0.5) cluster.Do(RequestPrefilled{RequestId{n}});
    }
    for (const RequestKey& key : placed) {
      cluster.Do(PartReleased{key, chance.Uniform() < 0.5 ? kP : kD});
    }
    for (std::uint64_t n = 1; n <= 40; ++n) cluster.Do(RequestEnded{RequestId{n}});
    for (const RequestKey& key : placed) {
      cluster.Do(PartReleased{key, kP});
      cluster.Do(PartReleased{key, kD});
    }
    CHECK(cluster.view.LiveRequests() == 0);
    CHECK(cluster.Look(kP).kv_blocks_free == 100);
    CHECK(cluster.Look(kD).kv_blocks_free == 100);
    CHECK(cluster.view.Snapshot().queued_prompt_tokens == 0);
  }
}

}  // namespace
}  // namespace baton::cluster
