#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"
#include "common/net/connection.h"
#include "common/net/event_loop.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/transport.h"

namespace baton::peer {
class Envelope;  // kvtransfer/peer.pb.h
class Hello;
}  // namespace baton::peer

namespace baton::kvtransfer {

/// The pair connections of one worker: dials or accepts, exchanges HELLO, warms the data plane by a canary,
/// pings, and says who is ready and who is lost. Control loop only.
class PeerLinks {
 public:
  struct Events {
    /// Any message of a ready or warming peer but HELLO, REFUSED, MEASURED.
    std::function<void(WorkerId, const peer::Envelope&)> on_message;
    /// Ready, or lost: then every transfer with this peer fails with `why`.
    std::function<void(const PeerStatus&, const absl::Status& why)> on_status;
    /// Transfers that the sender of the next PING still holds.
    std::function<std::vector<TransferId>(WorkerId)> live_transfers;
  };

  PeerLinks(net::EventLoop& loop, const HandoffOptions& options, const KvLayout& layout,
            Incarnation incarnation, Transport& transport, Events events);
  ~PeerLinks();
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;

  [[nodiscard]] absl::Status Listen();
  [[nodiscard]] std::uint16_t Port() const;
  [[nodiscard]] std::uint64_t RefusedHandshakes() const;
  void SetSelf(WorkerId self) { self_ = self; }
  void SetPeers(const std::vector<PeerInfo>& peers);
  [[nodiscard]] std::vector<PeerStatus> Statuses() const;

  /// Unavailable where the peer is not connected.
  [[nodiscard]] absl::Status Send(WorkerId peer, const peer::Envelope& message);
  /// The data-plane handle of a ready peer with this incarnation; an error says what is missing.
  [[nodiscard]] absl::StatusOr<PeerHandle> Ready(WorkerId peer, Incarnation incarnation) const;
  /// How its KV lies, from its HELLO.
  [[nodiscard]] absl::StatusOr<KvLayout> LayoutOf(WorkerId peer) const;
  /// Drops the connection (its data plane is doubtful); it is made anew.
  void Reset(WorkerId peer, const absl::Status& why);
  /// The same from inside a transfer's own event, once that has returned.
  void ResetLater(WorkerId peer, const absl::Status& why);
  /// The measured speed changes with real transfers.
  [[nodiscard]] double Speed(WorkerId peer) const;
  void Measured(WorkerId peer, double bytes_per_second);

  /// The transport's events that belong to links. False where they are not theirs.
  bool OnSent(const Sent& sent);
  void OnPeerDown(PeerHandle handle, const absl::Status& why);

 private:
  struct Link;
  struct Unnamed;  // accepted, HELLO not yet read

  void Dial(Link& link);
  void OnConnected(WorkerId id, absl::StatusOr<std::unique_ptr<net::Connection>> connection);
  void OnAccepted(std::unique_ptr<net::Connection> connection);
  void OnUnnamedFrame(std::uint64_t key, std::string_view frame);
  void OnClosed(WorkerId id, const absl::Status& why);
  void SendHello(net::Connection& connection);
  void OnFrame(WorkerId id, std::string_view frame);
  [[nodiscard]] absl::Status CheckHello(const Link& link, const peer::Hello& hello) const;
  void OnHello(Link& link, const peer::Hello& hello);
  void Warm(Link& link);
  void BecomeReadyIfWarm(Link& link);
  void Lose(Link& link, const absl::Status& why);
  void ScheduleDial(Link& link);
  void OnPingTimer();
  void Later(std::function<void()> work);

  net::EventLoop& loop_;
  const HandoffOptions options_;
  const KvLayout layout_;
  const Incarnation incarnation_;
  Transport& transport_;
  Events events_;
  WorkerId self_;
  std::unique_ptr<net::Listener> listener_;
  std::map<WorkerId, std::unique_ptr<Link>> links_;
  std::map<std::uint64_t, std::unique_ptr<Unnamed>> unnamed_;
  std::uint64_t last_unnamed_ = 0;
  net::Timer ping_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton::kvtransfer
