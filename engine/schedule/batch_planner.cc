#include "engine/schedule/batch_planner.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::engine {
namespace {

/// What decodes younger than `before` leave free.
struct Share {
  std::size_t before = 0;
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
};

Share ShareOfThePreempted(const QueueView& queue, const PlannerLimits& limits) {
  for (std::size_t i = 0; i < queue.sequences.size(); ++i) {
    const SequenceView& sequence = queue.sequences[i];
    if (!sequence.keeps_place || sequence.prompt_tokens_left == 0) continue;
    const std::int64_t quarter = std::max<std::int64_t>(1, limits.batch_tokens / 4);
    return {.before = i,
            .tokens = std::min({sequence.prompt_tokens_left, limits.prefill_chunk_tokens, quarter}),
            .sequences = 1};
  }
  return {.before = queue.sequences.size()};
}

}  // namespace

BatchPlan Plan(const QueueView& queue, const PlannerLimits& limits) {
  BATON_CHECK(limits.batch_tokens > 0 && limits.batch_sequences > 0 && limits.prefill_chunk_tokens > 0,
              "planner limits {} {} {}", limits.batch_tokens, limits.batch_sequences,
              limits.prefill_chunk_tokens);
  BatchPlan plan;
  std::int64_t tokens_left = limits.batch_tokens;
  std::int64_t sequences_left = limits.batch_sequences;
  const auto take = [&](std::size_t sequence, std::int64_t tokens) {
    plan.slices.push_back({.sequence = sequence, .tokens = tokens});
    tokens_left -= tokens;
    --sequences_left;
  };
  const Share share = ShareOfThePreempted(queue, limits);
  for (const bool decodes : {true, false}) {
    for (std::size_t i = 0; i < queue.sequences.size() && tokens_left > 0 && sequences_left > 0; ++i) {
      const std::int64_t prompt_left = queue.sequences[i].prompt_tokens_left;
      if ((prompt_left == 0) != decodes) continue;
      if (decodes && i > share.before && (tokens_left <= share.tokens || sequences_left <= share.sequences))
        break;
      take(i, decodes ? 1 : std::min({prompt_left, limits.prefill_chunk_tokens, tokens_left}));
    }
  }
  return plan;
}

}  // namespace baton::engine
