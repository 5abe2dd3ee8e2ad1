#pragma once

#include <functional>
#include <memory>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "kvtransfer/staging.h"
#include "kvtransfer/transport.h"

namespace baton::peer {
class Envelope;  // kvtransfer/peer.pb.h
}  // namespace baton::peer

namespace baton::kvtransfer {

/// What the sending and the receiving side need of the worker around them: time, chance, a place for later
/// work, and the links to peers. The hand-off implements it over its event loop and pair connections; the
/// simulation over a virtual clock and a network of its own, under which the same sides run.
class SideHost {
 public:
  virtual ~SideHost() = default;
  [[nodiscard]] virtual TimePoint Now() const = 0;
  /// Runs `work` once the current call has returned. From any thread.
  virtual void Post(std::function<void()> work) = 0;
  /// An id that nobody has had before.
  [[nodiscard]] virtual TransferId NewTransfer() = 0;

  /// Unavailable where the peer is not connected.
  [[nodiscard]] virtual absl::Status Send(WorkerId peer, const peer::Envelope& message) = 0;
  /// The data-plane handle of a ready peer with this incarnation; an error says what is missing.
  [[nodiscard]] virtual absl::StatusOr<PeerHandle> Ready(WorkerId peer, Incarnation incarnation) const = 0;
  /// How a ready peer's KV lies.
  [[nodiscard]] virtual absl::StatusOr<KvLayout> LayoutOf(WorkerId peer) const = 0;
  /// Drops the connections with a peer whose data plane is doubtful, once the current call has returned:
  /// every transfer with it fails.
  virtual void ResetLater(WorkerId peer, const absl::Status& why) = 0;
  /// The same for a transfer that does not drain: only where `link`, over which it began, is still the one in
  /// use. One that was made since serves others, and the old endpoint is being closed.
  void ResetOwnLink(WorkerId peer, Incarnation incarnation, PeerHandle link, const absl::Status& why) {
    if (const auto now = Ready(peer, incarnation); now.ok() && *now == link) ResetLater(peer, why);
  }
  /// Slots for messages that cannot be sent from where the KV lies; asked for once, when the first one is.
  [[nodiscard]] virtual std::shared_ptr<Stager> MakeStager(std::size_t slots, std::size_t slot_bytes) = 0;
  /// As last measured; 0 where it is not known.
  [[nodiscard]] virtual double Speed(WorkerId peer) const = 0;
  /// A real transfer's speed.
  virtual void Measured(WorkerId peer, double bytes_per_second) = 0;
};

}  // namespace baton::kvtransfer
