#pragma once

#include <functional>

#include "common/base/clock.h"

namespace baton::kvtransfer::ucx {

/// While one lives, the calls that UCX makes to sockets on this thread are answered so that it lives through
/// the loss of a peer at any moment. 1.13.1 bears a loss only where a receive tells it of it, on a connection
/// that it has made; so that is how it is told:
///
/// - A send never fails: on a broken connection the bytes count as sent, as those do that the kernel had
///   taken before it broke, and the connection is shut, so that a receive brings its end. (UCX sends what
///   waited for a connection from within the walk over that queue; an error there tears the queue down under
///   the walk.)
/// - A connect never fails, and waits for 2 s at most: where it would fail, or UCX tries again because the
///   peer hung up amid the making, a stand-in takes the peer's place, which acknowledges and hangs up. UCX
///   then sends what waited (nobody gets it) and finds the end. (Its answer to a peer's question must not
///   wait any more when a connection fails, and an endpoint that fails while it is being made is taken for
///   another.)
/// - A receive brings no more than one message of an accepted connection. (A peer's question has UCX hand
///   that connection over to the endpoint it makes for it, with what else it has read, while it walks through
///   that.)
class BrokenPeer {
 public:
  BrokenPeer();
  ~BrokenPeer();
  BrokenPeer(const BrokenPeer&) = delete;
  BrokenPeer& operator=(const BrokenPeer&) = delete;

  /// Whether every connection of this thread that was begun before `moment` has its peer's acknowledgement,
  /// or is over. Where `give_up`, those that are neither are shut, and what they receive is what a stand-in
  /// says: what waits for the acknowledgement goes, and then comes the end. (An endpoint that is closed by
  /// force while its answer to a peer's question waits ends the process.)
  [[nodiscard]] static bool Settled(TimePoint moment, bool give_up);

  /// Whether the calls of other libraries come here: they do where this program was linked as it should be.
  [[nodiscard]] static bool Works();
  /// Called before each call, with its name and socket; a test's means to break a peer at each of them. Set
  /// before the first, for the whole process.
  static void SetProbe(std::function<void(const char* call, int socket)> probe);
};

}  // namespace baton::kvtransfer::ucx
