#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/ids.h"

namespace baton::router {

/// Why an answer goes on at another decode worker.
enum class MoveReason {
  kDrain,    // its worker leaves
  kBalance,  // its worker's memory is about to end, another's is not
  kRoom,     // a request needs its memory, and has nowhere else to go
};
[[nodiscard]] constexpr std::string_view Name(MoveReason reason) {
  switch (reason) {
    case MoveReason::kDrain:
      return "drain";
    case MoveReason::kBalance:
      return "balance";
    case MoveReason::kRoom:
      return "room";
  }
  return "";
}

/// One answer on its way. Until one of the two workers has let go of it both may report tokens: they are the
/// same, and the answer takes each once. Whatever the one says of a lost acknowledgement, the router decides
/// who goes on, and cancels the other.
struct Move {
  RequestKey source;  // the attempt that writes now
  RequestKey target;  // the attempt that is to go on
  WorkerId from;
  WorkerId to;
  MoveReason reason = MoveReason::kDrain;
  bool there = false;  // the target has reported a token: the KV has arrived
};

/// What one worker sends at once: each more makes the others' last rounds, in which they stand still, longer.
inline constexpr std::size_t kMovesAtOnce = 4;
/// After a refusal: memory comes free by the second, not by the millisecond.
inline constexpr Duration kMovePause = std::chrono::milliseconds(500);
/// Positions that the receiver reserves beyond those known here: what is written while all else is copied, at
/// a thousand tokens a second for a quarter of one. What is not used comes free with the commit.
inline constexpr std::int64_t kMoveHeadroom = 256;
/// Llumnix looks at its loads as often.
inline constexpr Duration kBalanceInterval = std::chrono::seconds(1);
/// So long the first in the line waits for memory before answers move for it: most end sooner.
inline constexpr Duration kRoomPatience = std::chrono::milliseconds(100);
/// Between two looks for such moves.
inline constexpr Duration kRoomPause = std::chrono::milliseconds(500);
/// An answer that ends sooner is not worth a move.
inline constexpr std::int64_t kMoveTokensLeft = 4;

}  // namespace baton::router
