#include "engine/running_sequence.h"

#include <algorithm>
#include <span>
#include <utility>

#include "common/base/check.h"

namespace baton::engine {

RunningSequence::RunningSequence(SequenceSpec from, std::uint64_t number, int tokens_of_block)
    : spec(std::move(from)),
      arrival(number),
      block_tokens(tokens_of_block),
      computed(spec.phase == Phase::kDecode ? std::ssize(spec.tokens) - 1 : spec.computed_tokens),
      answered(spec.resumed + (spec.phase == Phase::kDecode ? 1 : 0)),
      decoding(spec.phase == Phase::kDecode) {
  if (!spec.sampling.Penalizes()) return;
  const std::span<const TokenId> tokens(spec.tokens);
  history.AddPrompt(tokens.first(tokens.size() - static_cast<std::size_t>(answered)));
  for (const TokenId token : tokens.last(static_cast<std::size_t>(answered))) history.AddAnswer(token);
}

std::int64_t RunningSequence::PromptToShow(std::int64_t tokens) const {
  if (!spec.prompt_logprobs || decoding || recomputes) return 0;
  const std::int64_t prompt = std::ssize(spec.tokens) - answered;
  return std::clamp<std::int64_t>(prompt - 1 - computed, 0, tokens);
}

std::optional<FinishReason> RunningSequence::FinishAfter(std::int64_t count, TokenId token) const {
  if (std::ranges::count(spec.stop.stop_ids, token) > 0) return FinishReason::kStop;
  if (count >= spec.stop.max_tokens) return FinishReason::kLength;
  if (spec.phase == Phase::kPrefill) return FinishReason::kPrefilled;
  return std::nullopt;
}

PreemptedEvent RunningSequence::LeaveBlocks(const KvArena& arena, SwapArea* swap, const BlockTable& slots,
                                            const Clock& clock) {
  PreemptedEvent event{.sequence = Key(), .positions = std::ssize(spec.tokens)};
  if (slots.empty()) {
    computed = 0;
    decoding = false;
    recomputes = true;
  } else {
    BATON_CHECK(swap != nullptr, "request {} is swapped, and there is no swap area", spec.key);
    const TimePoint begin = clock.Now();
    swap->CopyOut(arena, spec.blocks, slots, BlocksFor(computed, block_tokens));
    event.bytes = BlocksFor(computed, block_tokens) * static_cast<std::int64_t>(swap->SlotBytes());
    event.duration = clock.Now() - begin;
  }
  spec.blocks.clear();
  return event;
}

std::optional<ResumedEvent> RunningSequence::EnterBlocks(const KvArena& arena, SwapArea* swap,
                                                         BlockTable blocks, const BlockTable& slots,
                                                         const Clock& clock) {
  BATON_CHECK(spec.blocks.empty() && std::ssize(blocks) >= BlocksFor(std::ssize(spec.tokens), block_tokens),
              "request {}: {} blocks for {} tokens, {} held", spec.key, blocks.size(), spec.tokens.size(),
              spec.blocks.size());
  BATON_CHECK(slots.empty() == (computed == 0), "request {}: {} slots for {} positions", spec.key,
              slots.size(), computed);
  spec.blocks = std::move(blocks);
  if (slots.empty()) return std::nullopt;
  const TimePoint begin = clock.Now();
  swap->CopyIn(arena, spec.blocks, slots, BlocksFor(computed, block_tokens));
  return ResumedEvent{
      .sequence = Key(),
      .kind = Preemption::kSwap,
      .bytes = BlocksFor(computed, block_tokens) * static_cast<std::int64_t>(swap->SlotBytes()),
      .duration = clock.Now() - begin};
}

std::optional<ResumedEvent> RunningSequence::CountRecomputed(std::int64_t tokens, Duration share) {
  if (!recomputes) return std::nullopt;
  recomputed += tokens;
  recompute_time += share;
  if (!decoding) return std::nullopt;
  recomputes = false;
  return ResumedEvent{.sequence = Key(),
                      .kind = Preemption::kRecompute,
                      .tokens = std::exchange(recomputed, 0),
                      .duration = std::exchange(recompute_time, Duration{})};
}

std::int64_t PromptTokens(const SequenceSpec& spec) {
  return spec.phase == Phase::kDecode ? 0 : std::ssize(spec.tokens) - spec.computed_tokens;
}

std::int64_t PositionsAtSubmit(const SequenceSpec& spec) {
  const std::int64_t tokens = std::ssize(spec.tokens);
  const std::int64_t max_tokens = spec.stop.max_tokens - spec.resumed;  // still to come
  switch (spec.phase) {
    case Phase::kWhole:
      return tokens + max_tokens - 1;
    case Phase::kPrefill:
      return tokens;
    case Phase::kDecode:
      return spec.grows ? tokens - 1 : tokens + max_tokens - 2;
  }
  return tokens;
}

}  // namespace baton::engine
