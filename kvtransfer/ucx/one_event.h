#pragma once

namespace baton::kvtransfer::ucx {

/// While one lives, `epoll_wait` on this thread reports one event, of one direction: of a socket that can be
/// read and written, either. What is left is reported by a later call (UCX's sets are level-triggered).
///
/// UCX 1.13.1 asks for 16 events at a time and handles them one by one, reading before writing. What it
/// handles may free the endpoint of a later event, or of the same event's other half: a connection that both
/// sides close, or one that is reset amid messages. It then calls through a table by a byte of freed memory.
///
/// Of a connection that has failed it is told by reading alone (broken_peer.h says why).
class OneEventAtATime {
 public:
  OneEventAtATime();
  ~OneEventAtATime();
  OneEventAtATime(const OneEventAtATime&) = delete;
  OneEventAtATime& operator=(const OneEventAtATime&) = delete;

  /// Whether the calls of other libraries come here: they do where this program was linked as it should be.
  [[nodiscard]] static bool Works();
};

}  // namespace baton::kvtransfer::ucx
