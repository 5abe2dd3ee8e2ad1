#include "kernels/cuda/attention_plan.h"

#include <map>
#include <tuple>

#include <catch2/catch.hpp>

namespace baton::kernels::cuda {
namespace {

constexpr std::int64_t kSpan = kTile * kSpanTiles;

struct Batch {
  std::vector<std::vector<BlockIndex>> tables;
  std::vector<SequenceSlice> slices;

  void Add(std::int64_t first_position, std::int64_t tokens) {
    std::vector<BlockIndex>& table = tables.emplace_back();
    for (std::int64_t i = 0; i * kBlockTokens < first_position + tokens; ++i)
      table.emplace_back(static_cast<std::uint32_t>(1000 * tables.size() + static_cast<std::size_t>(i)));
    slices.push_back({.first_row = rows, .tokens = tokens, .first_position = first_position});
    rows += tokens;
  }
  std::span<const SequenceSlice> Slices() {
    for (std::size_t i = 0; i < slices.size(); ++i) slices[i].blocks = tables[i];
    return slices;
  }
  std::int64_t rows = 0;
};

Batch Mixed() {
  Batch batch;
  batch.Add(0, 1);
  batch.Add(5000, 1);
  batch.Add(100, 700);
  batch.Add(255, 3);
  batch.Add(256, 1);
  batch.Add(8191, 1);
  return batch;
}

/// How often each span of each row is attended to, and that it is one that the row sees.
void CheckCoverage(Batch& batch, const AttentionLimits& limits) {
  AttentionPlan plan;
  PlanAttention(batch.Slices(), limits, plan);
  std::map<std::tuple<int, int, std::int64_t>, int> seen;  // slice, packed row, span
  for (const auto* items : {&plan.few, &plan.many}) {
    for (const AttentionItem& item : *items) {
      CHECK(item.rows > 0);
      CHECK(item.rows <= (items == &plan.few ? kFewRows : limits.many_rows));
      CHECK(item.spans > 0);
      for (int row = item.first_row; row < item.first_row + item.rows; ++row) {
        for (int span = item.first_span; span < item.first_span + item.spans; ++span)
          ++seen[{item.slice, row, span}];
      }
    }
  }
  for (std::size_t i = 0; i < batch.slices.size(); ++i) {
    const SequenceSlice& slice = batch.slices[i];
    for (int row = 0; row < slice.tokens * limits.group; ++row) {
      const std::int64_t position = slice.first_position + row / limits.group;
      const std::int64_t first =
          limits.window > 0 ? std::max<std::int64_t>(0, position - limits.window + 1) : 0;
      for (std::int64_t span = first / kSpan; span <= position / kSpan; ++span) {
        const auto found = seen.find({static_cast<int>(i), row, span});
        const int times = found == seen.end() ? 0 : found->second;
        if (times != 1)
          FAIL_CHECK("slice " << i << " row " << row << " span " << span << ": " << times << " times");
      }
    }
  }
}

TEST_CASE("every row attends once to every span that it sees, however the work is cut") {
  for (const int group : {1, 4, 7, 40}) {
    for (const int window : {0, 100, 4096}) {
      for (const int many : {0, 32, 64}) {
        for (const int processors : {1, 132}) {
          INFO("group " << group << " window " << window << " many " << many << " processors " << processors);
          Batch batch = Mixed();
          CheckCoverage(
              batch,
              {.group = group, .kv_heads = 8, .window = window, .many_rows = many, .processors = processors});
        }
      }
    }
  }
}

TEST_CASE("parts of a row's spans have partial results of their own, which one item combines in order") {
  Batch batch = Mixed();
  AttentionPlan plan;

  PlanAttention(batch.Slices(), {.group = 4, .kv_heads = 8, .window = 0, .many_rows = 64, .processors = 132},
                plan);

  REQUIRE_FALSE(plan.combines.empty());
  std::map<std::int64_t, int> owners;  // partial row -> parts
  std::int64_t rows = 0;
  for (const CombineItem& combine : plan.combines) {
    int next = -1;
    for (const AttentionItem& item : plan.few) {
      if (item.slice != combine.slice || item.first_row != combine.first_row) continue;
      CHECK(item.rows == combine.rows);
      CHECK(item.partial == combine.partial + (item.first_span - plan.few.front().first_span) * item.rows);
      for (int i = 0; i < item.spans * item.rows; ++i) ++owners[item.partial + i];
      next = std::max(next, item.first_span + item.spans);
    }
    CHECK(next == combine.spans);
    rows += std::int64_t{combine.spans} * combine.rows;
  }
  CHECK(rows == plan.partial_rows);
  CHECK(static_cast<std::int64_t>(owners.size()) == plan.partial_rows);
  for (const auto& [row, count] : owners) CHECK(count == 1);
}

TEST_CASE("one long sequence is shared by many blocks, many short ones are not cut") {
  const AttentionLimits limits{.group = 4, .kv_heads = 8, .window = 0, .many_rows = 64, .processors = 132};
  AttentionPlan plan;
  Batch one;
  one.Add(32000, 1);
  PlanAttention(one.Slices(), limits, plan);
  CHECK(plan.few.size() >= 32);

  Batch many;
  for (int i = 0; i < 200; ++i) many.Add(1000, 1);
  PlanAttention(many.Slices(), limits, plan);
  CHECK(plan.few.size() < 600);
  CHECK(plan.many.empty());
}

TEST_CASE("slices carry their tables, one after another") {
  Batch batch = Mixed();
  AttentionPlan plan;

  PlanAttention(batch.Slices(), {.group = 2}, plan);

  REQUIRE(plan.slices.size() == batch.slices.size());
  for (std::size_t i = 0; i < plan.slices.size(); ++i) {
    const SliceArgument& slice = plan.slices[i];
    CHECK(slice.first_row == batch.slices[i].first_row);
    CHECK(slice.first_position == batch.slices[i].first_position);
    for (std::size_t entry = 0; entry < batch.tables[i].size(); ++entry) {
      CHECK(plan.blocks[static_cast<std::size_t>(slice.first_entry) + entry] == batch.tables[i][entry].value);
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
