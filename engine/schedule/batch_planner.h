#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"

/// Who runs in the next step: a pure function that daemons and simulator share.
namespace baton::engine {

/// A sequence that holds its KV blocks and wants to run.
struct SequenceView {
  RequestKey key;
  /// Prompt tokens not yet computed; 0 = it decodes, one token a step.
  std::int64_t prompt_tokens_left = 0;
  /// Its tokens are computed a second time, since it was preempted: it keeps its place before younger
  /// decodes.
  bool keeps_place = false;
};

/// In order of arrival.
struct QueueView {
  std::vector<SequenceView> sequences;
};

struct PlannerLimits {
  std::int64_t batch_tokens = 512;          // tokens of one step, prompts and decodes together
  std::int64_t batch_sequences = 64;        // sequences of one step
  std::int64_t prefill_chunk_tokens = 256;  // of one prompt in one step
};

struct PlannedSlice {
  std::size_t sequence = 0;  // index into QueueView::sequences
  std::int64_t tokens = 0;   // prompt tokens to compute, or 1 for a decode
  friend bool operator==(const PlannedSlice&, const PlannedSlice&) = default;
};

struct BatchPlan {
  std::vector<PlannedSlice> slices;
};

/// Continuous batching with chunked prefill (Sarathi-Serve, OSDI 2024, section 4): decodes first, so that no
/// answer stalls behind a prompt; what is left of the token budget goes to prompts in order of arrival, cut
/// into chunks. Decodes younger than a prompt that keeps its place leave it one sequence and a quarter of the
/// tokens (what it can use of them), so that it never starves behind them. A plan is empty only where the
/// queue is.
[[nodiscard]] BatchPlan Plan(const QueueView& queue, const PlannerLimits& limits);

}  // namespace baton::engine
