#include "kvtransfer/handoff.h"

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "kvtransfer/device_read_proof.h"
#include "kvtransfer/handoff_with.h"
#include "kvtransfer/path_report.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_links.h"
#include "kvtransfer/peer_messages.h"
#include "kvtransfer/probe.h"
#include "kvtransfer/receive_side.h"
#include "kvtransfer/send_side.h"
#include "kvtransfer/side_host.h"

namespace baton::kvtransfer {

std::string_view Name(TransferEnd end) {
  switch (end) {
    case TransferEnd::kAcked:
      return "acked";
    case TransferEnd::kFailed:
      return "failed";
    case TransferEnd::kAborted:
      return "aborted";
    case TransferEnd::kExpired:
      return "expired";
  }
  return "?";
}

namespace {

/// Leases, deadlines and drains are looked at this often: the error of a deadline, small against any of them.
constexpr Duration kTickInterval = std::chrono::milliseconds(50);
/// What a library needs to send a MiB to itself, and to set a GPU up for it.
constexpr Duration kProofPatience = std::chrono::seconds(10);

/// UCX's transports but the one within a process: a proof is to take the way that KV takes.
std::string WithoutSelf(const std::string& tls) {
  std::string others;
  for (std::size_t begin = 0; begin <= tls.size();) {
    const std::size_t end = std::min(tls.find(',', begin), tls.size());
    const std::string one = tls.substr(begin, end - begin);
    if (one != "self" && !one.empty()) others += (others.empty() ? "" : ",") + one;
    begin = end + 1;
  }
  return others.empty() ? tls : others;
}

/// The sides' host over the worker's event loop and its pair connections.
class LoopHost final : public SideHost {
 public:
  LoopHost(net::EventLoop& loop, PeerLinks& links, std::shared_ptr<Stager> device)
      : loop_(loop), links_(links), device_(std::move(device)) {}
  TimePoint Now() const override { return loop_.Now(); }
  void Post(std::function<void()> work) override { loop_.Post(std::move(work)); }
  TransferId NewTransfer() override { return NewTransferId(); }
  absl::Status Send(WorkerId peer, const peer::Envelope& message) override {
    return links_.Send(peer, message);
  }
  absl::StatusOr<PeerHandle> Ready(WorkerId peer, Incarnation incarnation) const override {
    return links_.Ready(peer, incarnation);
  }
  absl::StatusOr<KvLayout> LayoutOf(WorkerId peer) const override { return links_.LayoutOf(peer); }
  void ResetLater(WorkerId peer, const absl::Status& why) override { links_.ResetLater(peer, why); }
  std::shared_ptr<Stager> MakeStager(std::size_t slots, std::size_t slot_bytes) override {
    if (device_ != nullptr) return device_;
    return CreateHostStager(slots, slot_bytes, /*own_thread=*/true);
  }
  double Speed(WorkerId peer) const override { return links_.Speed(peer); }
  void Measured(WorkerId peer, double bytes_per_second) override { links_.Measured(peer, bytes_per_second); }

 private:
  net::EventLoop& loop_;
  PeerLinks& links_;
  const std::shared_ptr<Stager> device_;  // of KV that the host cannot read
};

class HandoffImpl final : public Handoff,
                          public TransportEvents,
                          public std::enable_shared_from_this<HandoffImpl> {
 public:
  HandoffImpl(net::EventLoop& loop, const HandoffOptions& options, const ArenaView& arena,
              Incarnation incarnation, metrics::Registry& metrics, Observer observer,
              std::unique_ptr<Transport> transport, std::shared_ptr<Stager> device_stager)
      : loop_(loop),
        observer_(std::move(observer)),
        probe_(metrics),
        transport_(std::move(transport)),
        links_(
            loop, options, arena.layout, incarnation, *transport_,
            {.on_message = [this](WorkerId from, const peer::Envelope& message) { OnMessage(from, message); },
             .on_status = [this](const PeerStatus& status,
                                 const absl::Status& why) { OnStatus(status, why); },
             .live_transfers = [this](WorkerId peer) { return LiveOf(peer); }}),
        host_(loop, links_, std::move(device_stager)),
        receive_(host_, options, arena, incarnation, *transport_, probe_),
        send_(host_, options, arena, incarnation, *transport_, probe_),
        options_(options),
        arena_(arena) {}

  absl::Status Start(const std::function<std::unique_ptr<Transport>()>& make_another) {
    BATON_RETURN_IF_ERROR(transport_->Start(arena_, *this));
    const bool reads_device = ReadsDevice(make_another);
    send_.SetTransportReadsDevice(reads_device);
    BATON_RETURN_IF_ERROR(links_.Listen());
    LogPath(ReadPathFacts(options_, *transport_, arena_, reads_device), arena_.layout.block_tokens);
    ScheduleTick();
    return absl::OkStatus();
  }

  /// Nothing of the transport's reports is looked at any more.
  void Silence() { silent_ = true; }

  std::uint16_t Port() const override { return links_.Port(); }
  void SetSelf(WorkerId self) override { links_.SetSelf(self); }
  void SetPeers(const std::vector<PeerInfo>& peers) override { links_.SetPeers(peers); }
  std::vector<PeerStatus> Peers() const override { return links_.Statuses(); }
  absl::Status Receive(const ReceiveRequest& request, ReceiverEvents events) override {
    return receive_.Receive(request, std::move(events));
  }
  void AbortReceive(RequestKey key) override { receive_.Abort(key); }
  absl::Status Send(const SendRequest& request, SenderEvents events) override {
    return send_.Send(request, std::move(events));
  }
  void ProducerStarted(RequestKey key) override { send_.ProducerStarted(key); }
  void LayerReady(RequestKey key, int layer, std::int64_t first_position, std::int64_t tokens) override {
    send_.LayerReady(key, layer, first_position, tokens);
  }
  void PositionsReady(RequestKey key, std::int64_t first_position, std::int64_t tokens,
                      const std::vector<BlockIndex>& more_blocks) override {
    send_.PositionsReady(key, first_position, tokens, more_blocks);
  }
  void Commit(RequestKey key, const CommitInfo& info) override { send_.Commit(key, info); }
  void AbortSend(RequestKey key) override { send_.Abort(key); }
  std::size_t LiveTransfers() const override { return receive_.Live() + send_.Live(); }

  // From the transport's thread.
  void OnReceived(Received received) override {
    ToLoop([received = std::move(received)](HandoffImpl& self) { self.receive_.OnPlaced(received); });
  }
  void OnDrained(TransferId transfer) override {
    ToLoop([transfer](HandoffImpl& self) { self.receive_.OnDrained(transfer); });
  }
  void OnSent(const Sent& sent) override {
    ToLoop([sent](HandoffImpl& self) {
      if (!self.send_.OnSent(sent)) self.links_.OnSent(sent);
    });
  }
  void OnPeerDown(PeerHandle peer, const absl::Status& why) override {
    ToLoop([peer, why](HandoffImpl& self) { self.links_.OnPeerDown(peer, why); });
  }

 private:
  void ToLoop(std::function<void(HandoffImpl&)> work) {
    loop_.Post([weak = weak_from_this(), work = std::move(work)] {
      const auto self = weak.lock();
      if (self != nullptr && !self->silent_) work(*self);
    });
  }

  void OnMessage(WorkerId from, const peer::Envelope& message) {
    switch (message.body_case()) {
      case peer::Envelope::kGrant:
        return send_.OnGrant(from, message.grant());
      case peer::Envelope::kCommit:
        return receive_.OnCommit(from, message.commit());
      case peer::Envelope::kAck:
        return send_.OnAck(from, FromWire(message.ack().transfer()));
      case peer::Envelope::kAbort:
        send_.OnAbort(from, message.abort());
        return receive_.OnAbort(from, message.abort());
      case peer::Envelope::kCredit:
        return send_.OnCredit(from, message.credit());
      case peer::Envelope::kPing:
        for (const peer::Id& id : message.ping().transfers()) receive_.Renew(from, FromWire(id));
        return;
      case peer::Envelope::kHello:
      case peer::Envelope::kRefused:
      case peer::Envelope::kMeasured:
      case peer::Envelope::BODY_NOT_SET:
        return;
    }
  }

  void OnStatus(const PeerStatus& status, const absl::Status& why) {
    if (!status.ready) {
      send_.OnPeerLost(status.id, why);
      receive_.OnPeerLost(status.id, why);
    }
    double ready = 0;
    for (const PeerStatus& peer : links_.Statuses()) ready += peer.ready ? 1 : 0;
    probe_.PeersReady(ready);
    // Never from inside a call of the caller's.
    ToLoop([status](HandoffImpl& self) {
      if (self.observer_.on_peer) self.observer_.on_peer(status);
    });
  }

  std::vector<TransferId> LiveOf(WorkerId peer) const {
    std::vector<TransferId> ids;
    send_.LiveOf(peer, ids);
    return ids;
  }

  /// That KV in a GPU's memory may be sent from there: claimed, and proved.
  bool ReadsDevice(const std::function<std::unique_ptr<Transport>()>& make_another) {
    if (arena_.copier == nullptr || options_.checksum || !transport_->ReadsDeviceMemory()) return false;
    const absl::Status proof = make_another
                                   ? ProveDeviceReads(make_another(), arena_, kProofPatience)
                                   : Error(kUnimplemented, "there is no second transport to try it with");
    if (!proof.ok())
      LogWarning("gpu_direct_refused", {{"error", proof}, {"consequence", "KV goes through host memory"}});
    return proof.ok();
  }

  void ScheduleTick() {
    tick_ = loop_.After(kTickInterval, [this] {
      ScheduleTick();
      send_.Tick();
      receive_.Tick();
      probe_.LiveTransfers(static_cast<double>(LiveTransfers()));
      probe_.Dropped(static_cast<double>(transport_->Counters().dropped_messages));
      probe_.HandshakesRefused(static_cast<double>(links_.RefusedHandshakes()));
    });
  }

  net::EventLoop& loop_;
  Observer observer_;
  Probe probe_;
  std::unique_ptr<Transport> transport_;
  PeerLinks links_;
  LoopHost host_;
  ReceiveSide receive_;
  SendSide send_;
  const HandoffOptions options_;
  const ArenaView arena_;
  net::Timer tick_;
  bool silent_ = false;
};

/// What the caller owns: reports that are still on their way find a weak reference to the rest.
class OwnedHandoff final : public Handoff {
 public:
  explicit OwnedHandoff(std::shared_ptr<HandoffImpl> impl) : impl_(std::move(impl)) {}
  ~OwnedHandoff() override { impl_->Silence(); }
  std::uint16_t Port() const override { return impl_->Port(); }
  void SetSelf(WorkerId self) override { impl_->SetSelf(self); }
  void SetPeers(const std::vector<PeerInfo>& peers) override { impl_->SetPeers(peers); }
  std::vector<PeerStatus> Peers() const override { return impl_->Peers(); }
  absl::Status Receive(const ReceiveRequest& request, ReceiverEvents events) override {
    return impl_->Receive(request, std::move(events));
  }
  void AbortReceive(RequestKey key) override { impl_->AbortReceive(key); }
  absl::Status Send(const SendRequest& request, SenderEvents events) override {
    return impl_->Send(request, std::move(events));
  }
  void ProducerStarted(RequestKey key) override { impl_->ProducerStarted(key); }
  void LayerReady(RequestKey key, int layer, std::int64_t first_position, std::int64_t tokens) override {
    impl_->LayerReady(key, layer, first_position, tokens);
  }
  void PositionsReady(RequestKey key, std::int64_t first_position, std::int64_t tokens,
                      const std::vector<BlockIndex>& more_blocks) override {
    impl_->PositionsReady(key, first_position, tokens, more_blocks);
  }
  void Commit(RequestKey key, const CommitInfo& info) override { impl_->Commit(key, info); }
  void AbortSend(RequestKey key) override { impl_->AbortSend(key); }
  std::size_t LiveTransfers() const override { return impl_->LiveTransfers(); }

 private:
  std::shared_ptr<HandoffImpl> impl_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Handoff>> CreateHandoffWith(
    std::unique_ptr<Transport> transport, net::EventLoop& loop, const HandoffOptions& options,
    const ArenaView& arena, Incarnation incarnation, metrics::Registry& metrics, Handoff::Observer observer,
    const std::function<std::unique_ptr<Transport>()>& make_another) {
  BATON_RETURN_IF_ERROR(Annotate(ShapeOf(arena.layout).status(), "this worker's KV"));
  const std::size_t needed = static_cast<std::size_t>(arena.layout.RankLayers()) *
                             static_cast<std::size_t>(arena.blocks) * arena.layout.BlockBytes();
  const std::size_t parts = std::max<std::size_t>(1, arena.rank_parts.size());
  BATON_CHECK(arena.region.bytes * parts >= needed, "an arena of {} bytes for {} of KV",
              arena.region.bytes * parts, needed);
  BATON_CHECK((arena.region.kind == MemoryKind::kDevice) == (arena.copier != nullptr),
              "KV in a device's memory needs a copier, other KV has none");
  std::shared_ptr<Stager> device_stager;
  if (arena.copier != nullptr) {
    auto made = CreateDeviceStager(arena.copier, StagingSlots(options), kMessageBytesMax);
    if (!made.ok()) return Annotate(made.status(), "transfer.staging");
    device_stager = *std::move(made);
  }
  auto impl = std::make_shared<HandoffImpl>(loop, options, arena, incarnation, metrics, std::move(observer),
                                            std::move(transport), std::move(device_stager));
  BATON_RETURN_IF_ERROR(impl->Start(make_another));
  return std::make_unique<OwnedHandoff>(std::move(impl));
}

absl::StatusOr<std::unique_ptr<Handoff>> Handoff::Create(net::EventLoop& loop, const HandoffOptions& options,
                                                         const ArenaView& arena, Incarnation incarnation,
                                                         metrics::Registry& metrics, Observer observer) {
  if (options.transport != "ucx" && options.transport != "loopback")
    return Error(kInvalidArgument, "transfer.transport '{}' is none of: ucx, loopback", options.transport);
  const auto make = [](const HandoffOptions& with) {
    return with.transport == "ucx" ? CreateUcxTransport(with) : CreateLoopbackTransport(with);
  };
  const auto make_another = [&] {
    HandoffOptions another = options;
    another.tls = WithoutSelf(options.tls);
    return make(another);
  };
  return CreateHandoffWith(make(options), loop, options, arena, incarnation, metrics, std::move(observer),
                           make_another);
}

}  // namespace baton::kvtransfer
