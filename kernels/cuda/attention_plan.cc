#include "kernels/cuda/attention_plan.h"

#include <algorithm>

namespace baton::kernels::cuda {
namespace {

/// Blocks of few rows that each multiprocessor is to have: they wait for memory, and several hide it.
constexpr std::int64_t kBlocksPerProcessor = 4;

/// The spans that rows see, [first, first + count).
struct Spans {
  int first = 0;
  int count = 0;
};

Spans SpansOf(const SequenceSlice& slice, const AttentionItem& rows, const AttentionLimits& limits) {
  const std::int64_t lowest = slice.first_position + rows.first_row / limits.group;
  const std::int64_t highest = slice.first_position + (rows.first_row + rows.rows - 1) / limits.group;
  const std::int64_t seen = limits.window > 0 ? std::max<std::int64_t>(0, lowest - limits.window + 1) : 0;
  constexpr std::int64_t kSpan = kTile * kSpanTiles;
  const auto first = static_cast<int>(seen / kSpan);
  return {.first = first, .count = static_cast<int>(highest / kSpan) + 1 - first};
}

/// Items of up to `most` rows each for all rows of a slice, with all their spans.
void AddItems(const SequenceSlice& slice, int index, const AttentionLimits& limits, int most,
              std::vector<AttentionItem>& items) {
  const auto rows = static_cast<int>(slice.tokens * limits.group);
  for (int first = 0; first < rows; first += most) {
    AttentionItem item{.slice = index, .first_row = first, .rows = std::min(most, rows - first)};
    const Spans spans = SpansOf(slice, item, limits);
    item.first_span = spans.first;
    item.spans = spans.count;
    items.push_back(item);
  }
}

/// Cuts items whose spans are more than one block's share.
void SplitSpans(const AttentionLimits& limits, AttentionPlan& plan) {
  std::int64_t spans = 0;
  for (const AttentionItem& item : plan.few) spans += item.spans;
  const std::int64_t wanted = kBlocksPerProcessor * limits.processors;
  const auto share = static_cast<int>(
      std::max<std::int64_t>(1, spans * limits.kv_heads / std::max<std::int64_t>(1, wanted)));
  const std::size_t whole = plan.few.size();
  for (std::size_t i = 0; i < whole; ++i) {
    const AttentionItem item = plan.few[i];
    if (item.spans <= share) continue;
    const auto partial = static_cast<std::int32_t>(plan.partial_rows);
    plan.combines.push_back({.slice = item.slice,
                             .first_row = item.first_row,
                             .rows = item.rows,
                             .spans = item.spans,
                             .partial = partial});
    plan.partial_rows += std::int64_t{item.spans} * item.rows;
    for (int done = 0; done < item.spans; done += share) {
      AttentionItem part = item;
      part.first_span = item.first_span + done;
      part.spans = std::min(share, item.spans - done);
      part.partial = partial + done * item.rows;
      if (done == 0) {
        plan.few[i] = part;
      } else {
        plan.few.push_back(part);
      }
    }
  }
}

}  // namespace

void PlanAttention(std::span<const SequenceSlice> slices, const AttentionLimits& limits,
                   AttentionPlan& plan) {
  plan.slices.clear();
  plan.blocks.clear();
  plan.few.clear();
  plan.many.clear();
  plan.combines.clear();
  plan.partial_rows = 0;
  for (const SequenceSlice& slice : slices) {
    const auto index = static_cast<int>(plan.slices.size());
    plan.slices.push_back({.first_entry = static_cast<std::int32_t>(plan.blocks.size()),
                           .first_row = static_cast<std::int32_t>(slice.first_row),
                           .tokens = static_cast<std::int32_t>(slice.tokens),
                           .first_position = static_cast<std::int32_t>(slice.first_position)});
    for (const BlockIndex block : slice.blocks) plan.blocks.push_back(block.value);
    const bool few =
        limits.many_rows == 0 || slice.tokens == 1 || slice.tokens * limits.group <= 2 * kFewRows;
    AddItems(slice, index, limits, few ? kFewRows : limits.many_rows, few ? plan.few : plan.many);
  }
  SplitSpans(limits, plan);
}

}  // namespace baton::kernels::cuda
