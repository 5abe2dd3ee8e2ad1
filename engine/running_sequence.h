#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/constrain/constraint.h"
#include "engine/executor.h"
#include "engine/sample/token_history.h"

namespace baton::engine {

/// A sequence inside the executor: all that its answer depends on but the KV. Engine thread only.
struct RunningSequence {
  RunningSequence(SequenceSpec from, std::uint64_t number, int tokens_of_block);

  [[nodiscard]] SequenceKey Key() const { return {spec.key, spec.sample}; }
  [[nodiscard]] std::int64_t PromptLeft() const { return decoding ? 0 : std::ssize(spec.tokens) - computed; }
  /// Of the next `tokens` to be computed, those whose follower in the prompt is to be reported: the first
  /// ones.
  [[nodiscard]] std::int64_t PromptToShow(std::int64_t tokens) const;
  /// It is not paused, and the next position has a block.
  [[nodiscard]] bool CanRun() const {
    return !paused &&
           (!decoding || std::ssize(spec.blocks) >= BlocksFor(std::ssize(spec.tokens), block_tokens));
  }
  /// After `token`, the `count`-th of the answer.
  [[nodiscard]] std::optional<FinishReason> FinishAfter(std::int64_t count, TokenId token) const;

  /// Gives up the blocks: their KV goes to `slots`, or is dropped.
  PreemptedEvent LeaveBlocks(const KvArena& arena, SwapArea* swap, const BlockTable& slots,
                             const Clock& clock);
  /// Into `blocks`, with the KV of `slots`; nothing yet where the tokens are to be computed again.
  std::optional<ResumedEvent> EnterBlocks(const KvArena& arena, SwapArea* swap, BlockTable blocks,
                                          const BlockTable& slots, const Clock& clock);
  /// `tokens` of it were computed in a step that took `share` for them; the event once all are.
  std::optional<ResumedEvent> CountRecomputed(std::int64_t tokens, Duration share);

  SequenceSpec spec;          // `tokens` grows with the answer
  std::uint64_t arrival = 0;  // the order of Submit
  std::int64_t block_tokens = kBlockTokens;
  std::int64_t computed = 0;  // positions whose KV is in the arena
  std::int64_t answered = 0;  // tokens of the answer so far
  bool decoding = false;
  bool paused = false;
  bool recomputes = false;  // was preempted: its tokens are a prompt again
  std::int64_t recomputed = 0;
  Duration recompute_time{};
  std::optional<FinishReason> finish;
  TokenHistory history;                    // empty unless there are penalties
  std::shared_ptr<Constraint> constraint;  // null: the answer may be anything
  ConstraintState stands;                  // where the answer stands in it
};

/// Prompt tokens that a sequence which has not begun is to compute.
[[nodiscard]] std::int64_t PromptTokens(const SequenceSpec& spec);
/// Positions that the sequence must have blocks for when it is submitted.
[[nodiscard]] std::int64_t PositionsAtSubmit(const SequenceSpec& spec);

}  // namespace baton::engine
