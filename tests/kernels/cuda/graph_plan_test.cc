#include "kernels/cuda/graph_plan.h"

#include <vector>

#include <catch2/catch.hpp>

namespace baton::kernels::cuda {
namespace {

TEST_CASE("rows fall into few buckets, none is smaller than what falls into it, and the padding is bounded") {
  std::int64_t last = 0;
  int buckets = 0;
  for (std::int64_t rows = 1; rows <= kGraphRowsMax; ++rows) {
    const std::int64_t bucket = BucketRows(rows, 4096);
    REQUIRE(bucket >= rows);
    REQUIRE(bucket - rows < 8);
    REQUIRE(BucketRows(bucket, 4096) == bucket);
    REQUIRE(bucket >= last);
    buckets += bucket != last ? 1 : 0;
    last = bucket;
  }
  CHECK(buckets == 35);
}

TEST_CASE("a step that has no bucket is launched as it is") {
  CHECK(BucketRows(0, 100) == 0);
  CHECK(BucketRows(kGraphRowsMax + 1, 4096) == 0);
  CHECK(BucketRows(9, 15) == 0);  // the model has room for 15 rows
  CHECK(BucketRows(9, 16) == 16);
}

TEST_CASE("items and bytes are filled up to powers of two, and nothing stays nothing") {
  CHECK(BucketItems(0) == 0);
  CHECK(BucketItems(1) == 1);
  CHECK(BucketItems(5) == 8);
  CHECK(BucketBytes(0) == 0);
  CHECK(BucketBytes(1) == 256);
  CHECK(BucketBytes(257) == 512);
}

TEST_CASE("a step is launched, then captured, then replayed; one that is refused stays launched") {
  std::vector<KeptStep> kept;
  CHECK(ChooseStep(kept, std::nullopt).action == StepAction::kLaunch);
  CHECK(ChooseStep(kept, std::nullopt).place == 0);
  kept.resize(2);
  CHECK(ChooseStep(kept, std::nullopt).place == 2);
  CHECK(ChooseStep(kept, 1).action == StepAction::kCapture);
  kept[1].has_graph = true;
  CHECK(ChooseStep(kept, 1).action == StepAction::kReplay);
  CHECK(ChooseStep(kept, 1).place == 1);
  kept[0].refused = true;
  CHECK(ChooseStep(kept, 0).action == StepAction::kLaunch);
}

TEST_CASE("of a bounded number of steps the one used longest ago makes room") {
  std::vector<KeptStep> kept(kGraphsMax);
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = {.has_graph = true, .last_used = 100 + i};
  kept[7].last_used = 3;

  const StepChoice choice = ChooseStep(kept, std::nullopt);

  CHECK(choice.action == StepAction::kLaunch);
  CHECK(choice.place == 7);
}

}  // namespace
}  // namespace baton::kernels::cuda
