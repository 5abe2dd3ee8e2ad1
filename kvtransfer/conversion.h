#pragma once

#include <cstdint>
#include <span>

#include <absl/status/statusor.h>

#include "common/base/ids.h"
#include "kvtransfer/peer_messages.h"
#include "kvtransfer/reslice.h"
#include "kvtransfer/send_plan.h"
#include "kvtransfer/staging.h"

namespace baton::kvtransfer {

/// Puts messages together for a receiver whose KV lies otherwise than this worker's: pure.
class Conversion {
 public:
  /// For what `grant` says of both sides. An error where this worker's KV is not what the grant takes it for,
  /// or where the two cannot be converted.
  [[nodiscard]] static absl::StatusOr<Conversion> Create(const ArenaView& arena, const Grant& grant);
  /// Nothing is to be done: blocks go as they lie.
  [[nodiscard]] bool Trivial() const {
    return source_ == target_ && reslice_.Wire().element == source_.element;
  }
  /// The receiver's side of the plan.
  [[nodiscard]] SendPlan::Shape TargetShape(std::uint64_t layer_wise_bytes_min) const;
  /// How a planned message is made of the prompt's blocks in the arena.
  [[nodiscard]] StageJob JobFor(const PlannedMessage& message, std::span<const BlockIndex> source,
                                std::int64_t prompt_tokens) const;

 private:
  Conversion(const ArenaView& arena, const KvShape& source, const KvShape& target, Reslice reslice)
      : arena_(arena), source_(source), target_(target), reslice_(std::move(reslice)) {}

  ArenaView arena_;
  KvShape source_;
  KvShape target_;
  Reslice reslice_;
};

}  // namespace baton::kvtransfer
