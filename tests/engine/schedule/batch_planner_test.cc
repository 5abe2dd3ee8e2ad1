#include "engine/schedule/batch_planner.h"

#include <set>

#include <catch2/catch.hpp>

#include "common/base/random.h"

namespace baton::engine {
namespace {

QueueView Queue(const std::vector<std::int64_t>& prompt_tokens_left) {
  QueueView queue;
  for (const std::int64_t left : prompt_tokens_left) {
    queue.sequences.push_back(
        {.key = {RequestId(queue.sequences.size() + 1), Attempt(1)}, .prompt_tokens_left = left});
  }
  return queue;
}

using Slices = std::vector<PlannedSlice>;

TEST_CASE("an empty queue gives an empty plan") {
  CHECK(Plan({}, {}).slices.empty());
}

TEST_CASE("decodes go before prompts that arrived earlier") {
  const BatchPlan plan =
      Plan(Queue({40, 0, 30, 0}), {.batch_tokens = 50, .batch_sequences = 8, .prefill_chunk_tokens = 64});

  CHECK(plan.slices == Slices{{1, 1}, {3, 1}, {0, 40}, {2, 8}});
}

TEST_CASE("a prompt is cut at the chunk, so that the next one gets its share") {
  const BatchPlan plan =
      Plan(Queue({500, 500}), {.batch_tokens = 100, .batch_sequences = 8, .prefill_chunk_tokens = 64});

  CHECK(plan.slices == Slices{{0, 64}, {1, 36}});
}

TEST_CASE("the bound on sequences holds for decodes and prompts together") {
  const BatchPlan plan =
      Plan(Queue({0, 10, 0, 0, 10}), {.batch_tokens = 100, .batch_sequences = 4, .prefill_chunk_tokens = 64});

  CHECK(plan.slices == Slices{{0, 1}, {2, 1}, {3, 1}, {1, 10}});
}

TEST_CASE("decodes that fill the token budget leave prompts for later steps") {
  const BatchPlan plan =
      Plan(Queue({10, 0, 0, 0}), {.batch_tokens = 2, .batch_sequences = 4, .prefill_chunk_tokens = 64});

  CHECK(plan.slices == Slices{{1, 1}, {2, 1}});
}

TEST_CASE("decodes leave a share to an older prompt that keeps its place, and none to a younger one") {
  QueueView queue = Queue({0, 40, 0, 0, 0});
  queue.sequences[1].keeps_place = true;
  QueueView younger = Queue({0, 0, 0, 0, 40});
  younger.sequences[4].keeps_place = true;

  SECTION("of the sequences") {
    const PlannerLimits limits{.batch_tokens = 100, .batch_sequences = 3, .prefill_chunk_tokens = 64};
    CHECK(Plan(queue, limits).slices == Slices{{0, 1}, {2, 1}, {1, 40}});
    CHECK(Plan(younger, limits).slices == Slices{{0, 1}, {1, 1}, {2, 1}});
  }
  SECTION("of the tokens") {
    const PlannerLimits limits{.batch_tokens = 4, .batch_sequences = 8, .prefill_chunk_tokens = 64};
    CHECK(Plan(queue, limits).slices == Slices{{0, 1}, {2, 1}, {3, 1}, {1, 1}});
    CHECK(Plan(younger, limits).slices == Slices{{0, 1}, {1, 1}, {2, 1}, {3, 1}});
  }
  SECTION("even of one") {
    const PlannerLimits limits{.batch_tokens = 1, .batch_sequences = 1, .prefill_chunk_tokens = 64};
    queue.sequences.erase(queue.sequences.begin());
    CHECK(Plan(queue, limits).slices == Slices{{0, 1}});
  }
}

TEST_CASE("any queue gives a plan within its limits that never wastes the budget") {
  RandomStream random(11);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::int64_t> lefts(static_cast<std::size_t>(random.Between(1, 20)));
    for (std::int64_t& left : lefts) left = random.Between(0, 1) == 0 ? 0 : random.Between(1, 300);
    const PlannerLimits limits{.batch_tokens = random.Between(1, 400),
                               .batch_sequences = random.Between(1, 24),
                               .prefill_chunk_tokens = random.Between(1, 128)};

    const BatchPlan plan = Plan(Queue(lefts), limits);

    std::int64_t tokens = 0;
    std::set<std::size_t> seen;
    for (const PlannedSlice& slice : plan.slices) {
      REQUIRE(seen.insert(slice.sequence).second);
      const std::int64_t left = lefts.at(slice.sequence);
      REQUIRE(slice.tokens >= 1);
      REQUIRE(slice.tokens <= std::max<std::int64_t>(1, std::min(left, limits.prefill_chunk_tokens)));
      tokens += slice.tokens;
    }
    REQUIRE(tokens >= 1);
    REQUIRE(tokens <= limits.batch_tokens);
    REQUIRE(std::ssize(plan.slices) <= limits.batch_sequences);
    if (tokens < limits.batch_tokens && std::ssize(plan.slices) < limits.batch_sequences) {
      REQUIRE(plan.slices.size() == lefts.size());
      for (const PlannedSlice& slice : plan.slices) {  // each got all it could
        const std::int64_t left = lefts.at(slice.sequence);
        REQUIRE(slice.tokens == (left == 0 ? 1 : std::min(left, limits.prefill_chunk_tokens)));
      }
    }
  }
}

}  // namespace
}  // namespace baton::engine
