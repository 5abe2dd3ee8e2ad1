#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>

#include "common/base/clock.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_arena.h"
#include "engine/schedule/preemption.h"
#include "engine/sequence_key.h"

namespace baton::engine {

/// What a request's answers can come to need.
struct AnswerSize {
  std::int64_t prompt_tokens = 0;
  std::int64_t max_tokens = 0;  // of each answer
  std::int32_t samples = 1;
};

struct AnswerMemoryOptions {
  std::int64_t growth_blocks = 1;  // that a sequence has ahead of the one it writes, where there is room
  std::int64_t swap_slots = 0;     // blocks that the host area holds
  std::int64_t block_bytes = 0;    // of one block, all layers
  std::int64_t block_tokens = kBlockTokens;
  std::optional<Preemption> forced = std::nullopt;  // leaves no choice by cost
  PreemptionRates rates = {};                       // as measured so far
};

struct AnswerMemoryCounts {
  std::int64_t swaps = 0;           // preemptions since the start
  std::int64_t recomputations = 0;  // preemptions since the start
  std::int64_t bytes_out = 0;       // since the start
  std::int64_t bytes_in = 0;        // since the start
  std::int64_t preempted = 0;       // sequences that are out now
  std::int64_t swapped_out = 0;     // of them, those whose KV is in the host area
};

/// What the memory wants of whoever runs the sequences; `Executor` has calls of the same names and meanings.
class SequenceMover {
 public:
  virtual ~SequenceMover() = default;
  virtual void Grow(SequenceKey key, BlockTable more) = 0;
  virtual void Preempt(SequenceKey key, BlockTable slots) = 0;
  virtual void Resume(SequenceKey key, BlockTable blocks, BlockTable slots) = 0;
};

/// One of a request's answers at its begin.
struct AnswerStart {
  std::int32_t sample = 0;
  BlockTable blocks;
  /// The prompt's partly filled block is to be copied to this answer's own, for it goes on in it.
  std::optional<std::pair<BlockIndex, BlockIndex>> copy;
};

/// KV memory of answers that are written: who gets blocks, who must give them up, who comes back. Control
/// thread only; a function of the calls and their order, without clock or chance.
///
/// A reservation takes the prompt's blocks and the first growth; sequences then grow block by block. When
/// memory ends, the older takes from the younger (`ChooseVictim`), which come back in order of arrival,
/// before anything new begins. Memory that no preemption can free, of prompts that are being received, is
/// bounded: with it the longest sequence still fits. So the oldest can always run to its end, whatever the
/// others hold, and everything ends.
class AnswerMemory {
 public:
  /// Pool and mover outlive it.
  AnswerMemory(BlockPool& pool, SequenceMover& mover, const AnswerMemoryOptions& options);

  /// ResourceExhausted where the request would not fit with nothing else there.
  [[nodiscard]] absl::Status CheckFits(const AnswerSize& size) const;
  /// Blocks for the prompt, to be received; nothing where the request has to wait.
  [[nodiscard]] std::optional<BlockTable> Reserve(RequestKey key, const AnswerSize& size);
  /// The reception failed, and a write may still land in the reservation.
  void Quarantine(RequestKey key);
  /// Gives the reservation back; no write can land any more.
  void Drop(RequestKey key);
  /// The prompt is there: divides the reservation among the answers that go on (samples, rising). They share
  /// the prompt's full blocks.
  [[nodiscard]] std::vector<AnswerStart> Begin(RequestKey key, std::span<const std::int32_t> samples);

  /// The same for the only answer of a request, of which `positions` have come: what the reservation has
  /// beyond them and the first growth is free.
  [[nodiscard]] BlockTable BeginMoved(RequestKey key, std::int64_t positions);
  /// The blocks of a sequence that runs; none where it is out, on its way, or unknown.
  [[nodiscard]] BlockTable BlocksOf(SequenceKey key) const;

  /// Gives, takes and brings back what the memory allows now. The calls below do so by themselves.
  void Arrange();
  /// The sequence has one more token, and goes on. True where it wanted a block for it: there is less memory
  /// now, or too little.
  bool OnToken(SequenceKey key);
  /// Nobody will touch the sequence's blocks any more. Nothing happens where it is unknown.
  void OnEnded(SequenceKey key);
  void OnPreempted(SequenceKey key, std::int64_t positions, std::int64_t bytes, Duration duration);
  void OnResumed(SequenceKey key, std::int64_t tokens, std::int64_t bytes, Duration duration);

  /// Blocks that a reservation could take now.
  [[nodiscard]] std::int64_t Available() const;
  [[nodiscard]] AnswerMemoryCounts Counts() const;
  [[nodiscard]] const PreemptionRates& Rates() const { return rates_; }

 private:
  enum class Stand { kRuns, kLeaves, kOut, kComes };  // running, Preempt given, preempted, Resume given
  struct Sequence {
    SequenceKey key;
    std::int64_t positions = 0;   // that must have blocks for the next step
    std::int64_t blocks_max = 0;  // of the longest answer
    BlockTable blocks;
    BlockTable slots;
    Stand stand = Stand::kRuns;
  };
  struct Reservation {
    std::int64_t arrival = 0;
    AnswerSize size;
    BlockTable blocks;
    bool quarantined = false;
  };
  using Place = std::pair<std::int64_t, std::int32_t>;  // arrival and sample: the order of age

  [[nodiscard]] Sequence* Find(SequenceKey key);
  [[nodiscard]] std::int64_t Blocks(std::int64_t tokens) const {
    return BlocksFor(tokens, options_.block_tokens);
  }
  [[nodiscard]] std::int64_t BlocksOfOne(const AnswerSize& size) const;
  [[nodiscard]] std::int64_t SharedBlocks(const AnswerSize& size) const;
  [[nodiscard]] std::int64_t Urgent(std::int64_t positions, std::int64_t blocks_max) const;
  [[nodiscard]] std::int64_t BlocksAtBegin(const AnswerSize& size, std::int64_t growth) const;
  [[nodiscard]] std::int64_t ReservationBlocks(const AnswerSize& size) const;
  [[nodiscard]] std::int64_t Wanted(const Sequence& sequence) const;
  [[nodiscard]] std::int64_t Unclaimed() const;
  [[nodiscard]] std::int64_t GrowthToCome() const;
  [[nodiscard]] bool AllRun() const;
  [[nodiscard]] bool GrowUrgent();
  void GrowAhead();
  void ComeBack();
  void GrowBy(Sequence& sequence, std::int64_t blocks);
  [[nodiscard]] bool PreemptYoungerThan(const Place& place);
  [[nodiscard]] std::int64_t Frees(const Sequence& sequence) const;

  BlockPool& pool_;
  SequenceMover& mover_;
  const AnswerMemoryOptions options_;
  BlockPool slots_;
  PreemptionRates rates_;
  std::int64_t arrivals_ = 0;
  std::int64_t received_ = 0;  // blocks of reservations
  std::int64_t leaving_ = 0;   // blocks to come free from sequences that leave
  absl::flat_hash_map<RequestKey, Reservation> reservations_;
  std::map<Place, Sequence> sequences_;  // oldest first
  absl::flat_hash_map<SequenceKey, Place> places_;
  AnswerMemoryCounts counts_;
};

}  // namespace baton::engine
