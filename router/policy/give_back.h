#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "common/cluster/view.h"
#include "router/policy/prefix_index.h"

namespace baton::router {

/// When the KV of an answer that has ended goes back to a prefill worker.
struct GiveBackLimits {
  bool enabled = true;
  std::int64_t tokens_min = 32;  // that are not there already; fewer are not worth a transfer
  std::int64_t at_once = 4;      // to or from one worker: what waits for a link belongs to answers that run
  double share = 0.25;           // of a prefill worker's free blocks, at most, for one answer
};

/// An answer that has ended, with its KV still where it was written.
struct EndedAnswer {
  WorkerId at;
  std::int64_t positions = 0;             // prompt and answer, whole blocks
  std::span<const HeldPrefix> held = {};  // by prefill workers, of them
};

/// The prefill worker that takes it: of those that are ready, linked with where it is, of its numerics class
/// and block size, and have room, the one that holds most of it already; then the one with most memory, then
/// the lowest id. Nothing where there is none, where the decode worker is short of memory or leaves, or where
/// too little is new. `under_way` counts each worker's. Pure.
[[nodiscard]] std::optional<WorkerId> ChooseTaker(const cluster::ClusterSnapshot& snapshot,
                                                  const EndedAnswer& answer, const GiveBackLimits& limits,
                                                  const std::map<WorkerId, std::int64_t>& under_way);

}  // namespace baton::router
