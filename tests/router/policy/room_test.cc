#include "router/policy/room.h"

#include <catch2/catch.hpp>

#include "tests/router/policy/clusters.h"

namespace baton::router {
namespace {

constexpr WorkerId kD{101};
constexpr WorkerId kD2{102};
constexpr WorkerId kD3{103};
constexpr std::int64_t kBlocks = 64;

/// An answer of so many blocks, which are all that it can come to need unless `longest` says more.
RoomAnswer At(WorkerId at, std::int64_t blocks, std::int64_t longest = 0) {
  return {.answer = {.at = at, .positions = blocks * 16 - 1, .tokens_max = std::max(blocks, longest) * 16},
          .blocks = blocks};
}
RoomAnswer Fixed(WorkerId at, std::int64_t blocks) {
  RoomAnswer answer = At(at, blocks);
  answer.movable = false;
  return answer;
}

/// One prefill and three decode workers, which offer what `answers` leave; answers may move between all.
cluster::ClusterSnapshot Decodes(const std::vector<RoomAnswer>& answers) {
  cluster::ClusterSnapshot snapshot = Cluster(1, 3);
  for (std::size_t i = 1; i < snapshot.workers.size(); ++i) {
    cluster::WorkerSnapshot& worker = snapshot.workers[i];
    worker.about.growth_blocks = 1;
    worker.about.context_tokens = 2048;
    for (const WorkerId other : {kD, kD2, kD3}) {
      if (other != worker.about.id) worker.links.push_back({other, true, "tcp", 1e9});
    }
    std::int64_t used = 0;
    std::int64_t longest = 0;
    for (const RoomAnswer& answer : answers) {
      if (answer.answer.at != worker.about.id) continue;
      used += answer.blocks;
      longest = std::max(longest, answer.answer.tokens_max / 16);
    }
    worker.kv_blocks_free = kBlocks - std::max(used, longest);
  }
  return snapshot;
}

/// For a prompt that takes `wanted` blocks at its begin.
std::vector<RoomMove> Room(const cluster::ClusterSnapshot& snapshot, const std::vector<RoomAnswer>& answers,
                           std::int64_t wanted = 20, std::size_t moves_max = 4) {
  const std::int64_t prompt = (wanted - 2) * 16;
  const RequestSize size{.model = "m", .prompt_tokens = prompt, .tokens_max = prompt + 32};
  const PlacementResult placed = Place(snapshot, size);
  return MakeRoom(snapshot, size, placed.scores, answers, moves_max);
}
std::vector<RoomMove> Room(const std::vector<RoomAnswer>& answers) {
  return Room(Decodes(answers), answers);
}

using Moves = std::vector<RoomMove>;

TEST_CASE("an answer moves away where its memory is what a prompt lacks") {
  CHECK(Room({Fixed(kD, 44), At(kD, 5), Fixed(kD2, 50), Fixed(kD3, 64)}) == Moves{{1, kD2}});
  CHECK(Room({Fixed(kD, 45), At(kD, 4), Fixed(kD2, 50), Fixed(kD3, 64)}).empty());  // not enough
  CHECK(Room({Fixed(kD, 44), At(kD, 5), Fixed(kD2, 60), Fixed(kD3, 64)}).empty());  // nowhere to go
  CHECK(Room({Fixed(kD, 49), Fixed(kD2, 50), Fixed(kD3, 64)}).empty());             // nobody can
}

TEST_CASE("an answer that may yet become long holds more than its blocks") {
  const std::vector<RoomAnswer> answers = {At(kD, 3, 60), Fixed(kD2, 50), Fixed(kD3, 64)};
  const cluster::ClusterSnapshot snapshot = Decodes(answers);
  REQUIRE(snapshot.Find(kD)->kv_blocks_free == 4);
  CHECK(Room(snapshot, answers) == Moves{{0, kD2}});
}

TEST_CASE("of the answers that are enough the shortest moves; else those that hold most") {
  const RoomAnswer other = Fixed(kD2, 46);
  const RoomAnswer full = Fixed(kD3, 64);
  CHECK(Room({At(kD, 7), At(kD, 5), At(kD, 6), Fixed(kD, 31), other, full}) == Moves{{1, kD2}});
  const std::vector<RoomAnswer> small = {At(kD, 2), At(kD, 3), At(kD, 1), Fixed(kD, 43), other, full};
  CHECK(Room(small) == Moves{{1, kD2}, {0, kD2}});
  CHECK(Room(Decodes(small), small, 20, /*moves_max=*/1).empty());
}

TEST_CASE("the worker with the fewest answers to move makes the room, then with the fewest positions") {
  CHECK(Room({At(kD, 3), At(kD, 3), Fixed(kD, 43), At(kD2, 4), Fixed(kD2, 44), Fixed(kD3, 52)}) ==
        Moves{{3, kD}});
  CHECK(Room({At(kD, 5), Fixed(kD, 44), At(kD2, 6), Fixed(kD2, 42), Fixed(kD3, 52)}) == Moves{{0, kD2}});
  CHECK(Room({At(kD, 6), Fixed(kD, 43), At(kD2, 5), Fixed(kD2, 43), Fixed(kD3, 52)}) == Moves{{2, kD}});
}

TEST_CASE("two that move do not get the same memory") {
  CHECK(Room({At(kD, 3), At(kD, 3), Fixed(kD, 43), Fixed(kD2, 60), Fixed(kD3, 60)}) ==
        Moves{{0, kD2}, {1, kD3}});
  CHECK(Room({At(kD, 3), At(kD, 3), Fixed(kD, 43), Fixed(kD2, 60), Fixed(kD3, 64)}).empty());
}

TEST_CASE("nobody moves for a request that waits for something else, or for nothing") {
  const std::vector<RoomAnswer> answers = {Fixed(kD, 44), At(kD, 5), Fixed(kD2, 50), Fixed(kD3, 64)};
  cluster::ClusterSnapshot snapshot = Decodes(answers);
  REQUIRE_FALSE(Room(snapshot, answers).empty());
  CHECK(Room(snapshot, answers, 15).empty());  // it has room
  CHECK(Room(snapshot, answers, 70).empty());  // it never fits
  SECTION("what is short is not the answers'") {
    snapshot.workers[1].about.kv_blocks = 80;
  }
  SECTION("no link") {
    for (cluster::WorkerSnapshot& worker : snapshot.workers) worker.links.clear();
  }
  SECTION("they are all gone") {
    snapshot.workers.resize(1);
  }
  CHECK(Room(snapshot, answers).empty());
}

}  // namespace
}  // namespace baton::router
