#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "router/policy/migration.h"
#include "router/policy/placement.h"

namespace baton::router {

/// An answer on a decode worker, or its prompt on the way there.
struct RoomAnswer {
  MovableAnswer answer;
  std::int64_t blocks = 0;  // that it has now
  bool movable = true;
};

struct RoomMove {
  std::size_t answer = 0;  // its index
  WorkerId to;
  friend bool operator==(const RoomMove&, const RoomMove&) = default;
};

/// Which answers go elsewhere so that a request can begin for which each worker alone has too little memory
/// and all together have enough: of the decode workers that lack nothing but memory (`scores`, of `Place`),
/// the one with the fewest answers to move, then the fewest positions, then the lowest id. `answers` are all
/// that are known; what a worker offers beside them is limited by their blocks and by the longest of them,
/// which must be able to end. Nothing where no worker gets room by `moves_max` moves: half of it helps
/// nobody. Llumnix (OSDI 2024) calls it de-fragmentation. Pure.
[[nodiscard]] std::vector<RoomMove> MakeRoom(const cluster::ClusterSnapshot& snapshot,
                                             const RequestSize& request, std::span<const PairScore> scores,
                                             std::span<const RoomAnswer> answers, std::size_t moves_max);

}  // namespace baton::router
