#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/launches.h"

namespace baton::kernels::cuda {

struct AttentionLimits {
  int group = 1;  // query heads a KV head
  int kv_heads = 1;
  int window = 0;
  int many_rows = kManyRows;  // of a block that has many; 0: none has
  int processors = 1;
};

/// Who attends for what. Kept between calls, so that a step allocates nothing once it has grown.
struct AttentionPlan {
  std::vector<SliceArgument> slices;
  std::vector<std::uint32_t> blocks;  // of all slices, one after another
  std::vector<AttentionItem> few;     // of up to kFewRows rows
  std::vector<AttentionItem> many;
  std::vector<CombineItem> combines;
  std::int64_t partial_rows = 0;
};

/// Single tokens and short slices go to blocks of few rows, which share a long sequence's spans so that every
/// multiprocessor has work; prompts to blocks of many rows, each of which goes through all its spans. What is
/// computed does not depend on it.
void PlanAttention(std::span<const SequenceSlice> slices, const AttentionLimits& limits, AttentionPlan& plan);

}  // namespace baton::kernels::cuda
