#pragma once

#include <cstdint>

#include "common/base/clock.h"

namespace baton::decode {

/// In how many rounds an answer is copied while it is still written, and when it has to stand still: pure. A
/// round sends every block that is full; the block that is being written goes with the last one.
class MoveRounds {
 public:
  struct Limits {
    /// Copies while decoding goes on. Each is much shorter than the one before; where not, more do not help.
    int rounds_max = 4;
    /// What the rest may take at the measured speed while the answer stands still.
    Duration pause_max = std::chrono::milliseconds(2);
    /// So near the end of what the receiver has reserved the answer stands still anyway: a step for the order
    /// to be obeyed, and those whose tokens are still on their way to the control thread.
    std::int64_t reserve_positions = 8;
  };
  /// `block_bytes` are those of all layers; the receiver has reserved `positions_max`.
  MoveRounds(const Limits& limits, std::int64_t block_tokens, std::int64_t block_bytes,
             std::int64_t positions_max)
      : limits_(limits),
        block_tokens_(block_tokens),
        block_bytes_(block_bytes),
        positions_max_(positions_max) {}

  /// Positions up to `positions` have been sent, as far as their blocks are full.
  void Sent(std::int64_t positions);
  /// What was sent has gone, and the answer has `positions` now: whether it has to stand still for the rest,
  /// else another round is worth it.
  [[nodiscard]] bool MustPause(std::int64_t positions, double bytes_per_second) const;
  /// The reservation is about to end.
  [[nodiscard]] bool NearEnd(std::int64_t positions) const {
    return positions + limits_.reserve_positions >= positions_max_;
  }
  [[nodiscard]] int Rounds() const { return rounds_; }

 private:
  Limits limits_;
  std::int64_t block_tokens_;
  std::int64_t block_bytes_;
  std::int64_t positions_max_;
  std::int64_t sent_blocks_ = 0;
  int rounds_ = 0;
};

}  // namespace baton::decode
