#include "kvtransfer/peer_links.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/log.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_messages.h"

namespace baton::kvtransfer {
namespace {

// 3: rounds of an answer that is still written are not confirmed; 2: equal layouts only; 1: no CREDIT, no
// checksum over headers.
constexpr unsigned kProtocolVersion = 5;
constexpr std::uint64_t kCanaryBytes =
    8U << 20;  // 8 messages of 1 MiB: a few ms on loopback, enough to see a rate
constexpr std::uint64_t kWarmBytes = 1U << 20;
constexpr std::size_t kUnnamedMax = 64;
constexpr Duration kDialTimeout = std::chrono::seconds(5);
constexpr Duration kDialPauseFirst = std::chrono::milliseconds(50);
constexpr Duration kDialPauseMax = std::chrono::seconds(2);

}  // namespace

struct PeerLinks::Link {
  PeerInfo info;
  std::unique_ptr<net::PendingConnect> pending;
  std::unique_ptr<net::Connection> connection;
  net::Timer dial_timer;
  Duration dial_pause = kDialPauseFirst;
  PeerHandle data;      // 0 = no endpoint
  SendHandle canary;    // 0 = none under way
  bool warmed = false;  // the first, which makes the connection, is not measured
  TimePoint canary_begin{};
  bool canary_done = false;    // this side's
  bool peer_measured = false;  // the other's
  bool ready = false;
  double bytes_per_second = 0;
  KvLayout layout;  // the peer's
  TimePoint last_heard{};
};

struct PeerLinks::Unnamed {
  std::unique_ptr<net::Connection> connection;
  std::shared_ptr<WorkerId> owner;  // 0 until HELLO has named it; its frames then go to that link
  net::Timer timeout;
};

PeerLinks::PeerLinks(net::EventLoop& loop, const HandoffOptions& options, const KvLayout& layout,
                     Incarnation incarnation, Transport& transport, Events events)
    : loop_(loop),
      options_(options),
      layout_(layout),
      incarnation_(incarnation),
      transport_(transport),
      events_(std::move(events)) {
  ping_timer_ = loop_.After(options_.ping_interval, [this] { OnPingTimer(); });
}

PeerLinks::~PeerLinks() = default;

absl::Status PeerLinks::Listen() {
  auto listener =
      net::Listen(loop_, options_.listen, {.cluster_key = options_.cluster_key},
                  [this](std::unique_ptr<net::Connection> connection) { OnAccepted(std::move(connection)); });
  if (!listener.ok()) return Annotate(listener.status(), "peer listener");
  listener_ = *std::move(listener);
  return absl::OkStatus();
}

std::uint16_t PeerLinks::Port() const {
  return listener_->Port();
}

std::uint64_t PeerLinks::RefusedHandshakes() const {
  return listener_->RefusedHandshakes();
}

void PeerLinks::SetPeers(const std::vector<PeerInfo>& peers) {
  std::vector<WorkerId> gone;
  for (const auto& [id, link] : links_) {
    const PeerInfo& known = link->info;
    const bool same = std::ranges::any_of(peers, [&known](const PeerInfo& info) {
      return info.id == known.id && info.incarnation == known.incarnation;
    });
    if (!same) gone.push_back(id);
  }
  for (const WorkerId id : gone) {
    const std::unique_ptr<Link> link = std::move(links_.at(id));
    links_.erase(id);
    Lose(*link, Error(kUnavailable, "worker {}: left the cluster", id));
  }
  for (const PeerInfo& info : peers) {
    if (links_.contains(info.id)) continue;
    auto link = std::make_unique<Link>();
    link->info = info;
    Link& made = *link;
    links_[info.id] = std::move(link);
    if (info.dial) Dial(made);
  }
}

std::vector<PeerStatus> PeerLinks::Statuses() const {
  std::vector<PeerStatus> result;
  for (const auto& [id, link] : links_) {
    result.push_back({.id = id,
                      .ready = link->ready,
                      .transport = transport_.Name(),
                      .bytes_per_second = link->bytes_per_second});
  }
  return result;
}

void PeerLinks::Dial(Link& link) {
  link.pending =
      net::Connect(loop_, link.info.address, {.cluster_key = options_.cluster_key}, kDialTimeout,
                   [this, id = link.info.id](absl::StatusOr<std::unique_ptr<net::Connection>> connection) {
                     OnConnected(id, std::move(connection));
                   });
}

void PeerLinks::ScheduleDial(Link& link) {
  link.dial_timer = loop_.After(link.dial_pause, [this, id = link.info.id] {
    const auto found = links_.find(id);
    if (found != links_.end() && found->second->connection == nullptr) Dial(*found->second);
  });
  link.dial_pause = std::min(link.dial_pause * 2, kDialPauseMax);
}

void PeerLinks::OnConnected(WorkerId id, absl::StatusOr<std::unique_ptr<net::Connection>> connection) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  Link& link = *found->second;
  link.pending.reset();
  if (!connection.ok()) {
    LogWarning("peer_connect_failed",
               {{"peer", id}, {"address", link.info.address.ToString()}, {"error", connection.status()}});
    ScheduleDial(link);
    return;
  }
  SendHello(**connection);
  link.connection = *std::move(connection);
  link.last_heard = loop_.Now();
  link.connection->Start({.on_frame = [this, id](std::string_view frame) { OnFrame(id, frame); },
                          .on_close = [this, id](const absl::Status& why) { OnClosed(id, why); }});
}

void PeerLinks::OnAccepted(std::unique_ptr<net::Connection> connection) {
  if (unnamed_.size() >= kUnnamedMax) return;  // closed by its destructor
  const std::uint64_t key = ++last_unnamed_;
  auto unnamed = std::make_unique<Unnamed>();
  unnamed->connection = std::move(connection);
  unnamed->timeout = loop_.After(kDialTimeout, [this, key] { unnamed_.erase(key); });
  unnamed->owner = std::make_shared<WorkerId>();
  net::Connection& started = *unnamed->connection;
  const std::shared_ptr<WorkerId> owner = unnamed->owner;
  unnamed_[key] = std::move(unnamed);
  started.Start({.on_frame =
                     [this, key, owner](std::string_view frame) {
                       owner->value == 0 ? OnUnnamedFrame(key, frame) : OnFrame(*owner, frame);
                     },
                 .on_close =
                     [this, key, owner](const absl::Status& why) {
                       owner->value == 0 ? static_cast<void>(unnamed_.erase(key)) : OnClosed(*owner, why);
                     }});
}

void PeerLinks::OnUnnamedFrame(std::uint64_t key, std::string_view frame) {
  const auto entry = unnamed_.find(key);
  if (entry == unnamed_.end()) return;
  // The connection moves out of its own callback: do so once it has returned.
  Later([this, key, text = std::string(frame)] {
    const auto found = unnamed_.find(key);
    if (found == unnamed_.end()) return;
    const std::unique_ptr<Unnamed> unnamed = std::move(found->second);
    unnamed_.erase(found);
    peer::Envelope envelope;
    std::string reason;
    if (!envelope.ParseFromString(text) || !envelope.has_hello()) {
      reason = "the first message is no HELLO";
    } else {
      const auto link = links_.find(WorkerId(envelope.hello().worker_id()));
      if (link == links_.end()) {
        reason = fmt::format("worker {} is not known here (yet)", envelope.hello().worker_id());
      } else if (const absl::Status checked = CheckHello(*link->second, envelope.hello()); !checked.ok()) {
        reason = Message(checked);
      } else {
        if (link->second->connection != nullptr)
          Lose(*link->second, Error(kAborted, "the peer connected anew"));
        SendHello(*unnamed->connection);
        *unnamed->owner = link->second->info.id;
        link->second->connection = std::move(unnamed->connection);
        link->second->last_heard = loop_.Now();
        OnHello(*link->second, envelope.hello());
        return;
      }
    }
    LogWarning("peer_refused", {{"address", unnamed->connection->PeerAddress()}, {"reason", reason}});
    peer::Envelope refusal;
    refusal.mutable_refused()->set_reason(reason);
    static_cast<void>(unnamed->connection->Send(refusal.SerializeAsString()));
    unnamed->connection->Close();
  });
}

void PeerLinks::OnClosed(WorkerId id, const absl::Status& why) {
  const auto found = links_.find(id);
  if (found != links_.end()) Lose(*found->second, Annotate(why, fmt::format("worker {}", id)));
}

void PeerLinks::SendHello(net::Connection& connection) {
  peer::Envelope envelope;
  peer::Hello& hello = *envelope.mutable_hello();
  hello.set_protocol_version(kProtocolVersion);
  hello.set_worker_id(self_.value);
  hello.set_incarnation(incarnation_.value);
  hello.set_data_address(transport_.LocalAddress());
  hello.set_checksum(options_.checksum);
  hello.set_cluster_id(options_.cluster_id);
  ToWire(layout_, *hello.mutable_layout());
  static_cast<void>(connection.Send(envelope.SerializeAsString()));
}

absl::Status PeerLinks::CheckHello(const Link& link, const peer::Hello& hello) const {
  if (hello.protocol_version() != kProtocolVersion) {
    return Error(kFailedPrecondition, "protocol version {}, here {}", hello.protocol_version(),
                 kProtocolVersion);
  }
  BATON_RETURN_IF_ERROR(CheckSame(Terms{.cluster_id = options_.cluster_id, .checksum = options_.checksum},
                                  Terms{.cluster_id = hello.cluster_id(), .checksum = hello.checksum()}));
  if (hello.worker_id() != link.info.id.value || hello.incarnation() != link.info.incarnation.value) {
    return Error(kFailedPrecondition, "worker {} of another incarnation", hello.worker_id());
  }
  return CheckConvertible(layout_, FromWire(hello.layout()));
}

void PeerLinks::OnFrame(WorkerId id, std::string_view frame) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  Link& link = *found->second;
  link.last_heard = loop_.Now();
  peer::Envelope envelope;
  if (!envelope.ParseFromArray(frame.data(), static_cast<int>(frame.size())) ||
      envelope.body_case() == peer::Envelope::BODY_NOT_SET) {
    ResetLater(id, Error(kInvalidArgument, "worker {}: a malformed message", id));
    return;
  }
  switch (envelope.body_case()) {
    case peer::Envelope::kHello:
      // Losing the link destroys the connection that is calling: only after it has returned.
      if (const absl::Status checked = CheckHello(link, envelope.hello()); !checked.ok()) {
        ResetLater(id, Annotate(checked, fmt::format("worker {}", id)));
      } else {
        OnHello(link, envelope.hello());
      }
      return;
    case peer::Envelope::kRefused:
      LogWarning("peer_refused_us", {{"peer", id}, {"reason", envelope.refused().reason()}});
      return;  // it closes; dialled again with a pause
    case peer::Envelope::kMeasured:
      link.peer_measured = true;
      if (!link.info.dial) Warm(link);
      BecomeReadyIfWarm(link);
      return;
    case peer::Envelope::kGrant:
    case peer::Envelope::kCommit:
    case peer::Envelope::kAck:
    case peer::Envelope::kAbort:
    case peer::Envelope::kPing:
    case peer::Envelope::kCredit:
    case peer::Envelope::BODY_NOT_SET:
      break;
  }
  events_.on_message(id, envelope);
}

void PeerLinks::OnHello(Link& link, const peer::Hello& hello) {
  if (link.data.value != 0) return;  // repeated
  const auto handle = transport_.ConnectPeer(hello.data_address());
  if (!handle.ok()) {
    ResetLater(link.info.id, Annotate(handle.status(), fmt::format("worker {}", link.info.id)));
    return;
  }
  link.data = *handle;
  link.layout = FromWire(hello.layout());
  link.warmed = false;
  if (link.info.dial) Warm(link);
}

/// The dialler first, and the other when that is done: two sides whose first messages cross each ask the
/// other's UCX for its endpoint, and 1.13.1 ends the process where one of them has closed it meanwhile.
void PeerLinks::Warm(Link& link) {
  if (link.data.value != 0 && link.canary.value == 0 && !link.warmed)
    link.canary = transport_.SendCanary(link.data, kWarmBytes);
}

bool PeerLinks::OnSent(const Sent& sent) {
  for (const auto& [id, link] : links_) {
    if (link->canary != sent.send) continue;
    link->canary = SendHandle();
    if (!sent.status.ok()) {
      Reset(id, Annotate(sent.status, fmt::format("worker {}: canary", id)));
      return true;
    }
    if (!link->warmed) {
      link->warmed = true;
      link->canary_begin = loop_.Now();
      link->canary = transport_.SendCanary(link->data, kCanaryBytes);
      return true;
    }
    const double seconds = std::max(1e-6, Seconds(loop_.Now() - link->canary_begin));
    link->bytes_per_second = static_cast<double>(kCanaryBytes) / seconds;
    link->canary_done = true;
    peer::Envelope measured;
    measured.mutable_measured()->set_bytes_per_second(link->bytes_per_second);
    static_cast<void>(link->connection->Send(measured.SerializeAsString()));
    BecomeReadyIfWarm(*link);
    return true;
  }
  return false;
}

void PeerLinks::BecomeReadyIfWarm(Link& link) {
  if (link.ready || !link.canary_done || !link.peer_measured) return;
  link.ready = true;
  link.dial_pause = kDialPauseFirst;
  LogInfo("peer_ready", {{"peer", link.info.id},
                         {"name", link.info.name},
                         {"transport", transport_.Name()},
                         {"gigabytes_per_second", fmt::format("{:.2f}", link.bytes_per_second / 1e9)}});
  events_.on_status({.id = link.info.id,
                     .ready = true,
                     .transport = transport_.Name(),
                     .bytes_per_second = link.bytes_per_second},
                    absl::OkStatus());
}

void PeerLinks::Lose(Link& link, const absl::Status& why) {
  const bool was_ready = link.ready;
  link.ready = link.canary_done = link.peer_measured = false;
  link.canary = SendHandle();
  link.pending.reset();
  link.connection.reset();
  if (link.data.value != 0) transport_.ClosePeer(std::exchange(link.data, PeerHandle()));
  if (was_ready) LogWarning("peer_lost", {{"peer", link.info.id}, {"why", why}});
  events_.on_status({.id = link.info.id, .ready = false, .transport = transport_.Name()}, why);
  if (link.info.dial && links_.contains(link.info.id)) ScheduleDial(link);
}

void PeerLinks::Reset(WorkerId peer, const absl::Status& why) {
  const auto found = links_.find(peer);
  if (found != links_.end() && (found->second->connection != nullptr || found->second->data.value != 0)) {
    Lose(*found->second, why);
  }
}

void PeerLinks::ResetLater(WorkerId peer, const absl::Status& why) {
  Later([this, peer, why] { Reset(peer, why); });
}

void PeerLinks::Later(std::function<void()> work) {
  loop_.Post([alive = std::weak_ptr<bool>(alive_), work = std::move(work)] {
    if (!alive.expired()) work();
  });
}

void PeerLinks::OnPeerDown(PeerHandle handle, const absl::Status& why) {
  for (const auto& [id, link] : links_) {
    if (link->data != handle) continue;
    link->data = PeerHandle();
    Lose(*link, Annotate(why, fmt::format("worker {}", id)));
    return;
  }
}

absl::Status PeerLinks::Send(WorkerId peer, const peer::Envelope& message) {
  const auto found = links_.find(peer);
  if (found == links_.end() || found->second->connection == nullptr) {
    return Error(kUnavailable, "worker {}: not connected", peer);
  }
  return found->second->connection->Send(message.SerializeAsString());
}

absl::StatusOr<PeerHandle> PeerLinks::Ready(WorkerId peer, Incarnation incarnation) const {
  const auto found = links_.find(peer);
  if (found == links_.end()) return Error(kNotFound, "worker {}: no peer of this worker", peer);
  if (found->second->info.incarnation != incarnation) {
    return Error(kAborted, "worker {}: incarnation {:x} is not the current one", peer, incarnation.value);
  }
  if (!found->second->ready) return Error(kUnavailable, "worker {}: the link is not ready", peer);
  return found->second->data;
}

absl::StatusOr<KvLayout> PeerLinks::LayoutOf(WorkerId peer) const {
  const auto found = links_.find(peer);
  if (found == links_.end() || !found->second->ready)
    return Error(kUnavailable, "worker {}: not ready", peer);
  return found->second->layout;
}

double PeerLinks::Speed(WorkerId peer) const {
  const auto found = links_.find(peer);
  return found == links_.end() ? 0 : found->second->bytes_per_second;
}

void PeerLinks::Measured(WorkerId peer, double bytes_per_second) {
  const auto found = links_.find(peer);
  if (found == links_.end() || !found->second->ready) return;
  Link& link = *found->second;
  // Half-life of about 7 transfers: follows the network, not one transfer's luck.
  link.bytes_per_second += 0.1 * (bytes_per_second - link.bytes_per_second);
}

void PeerLinks::OnPingTimer() {
  ping_timer_ = loop_.After(options_.ping_interval, [this] { OnPingTimer(); });
  std::vector<WorkerId> silent;
  const TimePoint now = loop_.Now();
  for (const auto& [id, link] : links_) {
    if (link->connection == nullptr) continue;
    if (now - link->last_heard > options_.ping_interval * options_.pings_missed_max) {
      silent.push_back(id);
      continue;
    }
    peer::Envelope ping;
    ping.mutable_ping();
    for (const TransferId transfer : events_.live_transfers(id))
      ToWire(transfer, *ping.mutable_ping()->add_transfers());
    static_cast<void>(link->connection->Send(ping.SerializeAsString()));
  }
  for (const WorkerId id : silent) {
    Reset(id, Error(kUnavailable, "worker {}: silent for {} pings of {}", id, options_.pings_missed_max,
                    Milliseconds(options_.ping_interval)));
  }
}

}  // namespace baton::kvtransfer
