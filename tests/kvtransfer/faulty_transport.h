#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "kvtransfer/transport.h"

namespace baton::kvtransfer::test {

/// What a FaultyTransport does to the n-th operation of a kind, once.
struct Fault {
  enum class Kind {
    kNone,
    kConnectFails,
    kCanaryFails,
    kSendFails,      // reported as an error, nothing arrives
    kSendLost,       // reported as sent, nothing arrives
    kSendTwice,      // arrives twice
    kPeerGoesDown,   // the endpoint closes under a send
    kReceiveFails,   // placed, but reported as failed
    kReceivedTwice,  // reported twice
  };
  Kind kind = Kind::kNone;
  std::uint64_t at = 0;  // which operation that the kind applies to, from 0
};

/// A transport with one fault in it. The fault's count is shared with the test, which sees whether it came to
/// pass.
class FaultyTransport final : public Transport, public TransportEvents {
 public:
  struct State {
    Fault fault;
    std::atomic<std::uint64_t> seen{0};
    std::atomic<bool> happened{false};
  };
  FaultyTransport(std::unique_ptr<Transport> inner, std::shared_ptr<State> state)
      : state_(std::move(state)), inner_(std::move(inner)) {}

  absl::Status Start(const ArenaView& arena, TransportEvents& events) override {
    events_ = &events;
    return inner_->Start(arena, *this);
  }
  std::string Name() const override { return inner_->Name(); }
  std::string LocalAddress() const override { return inner_->LocalAddress(); }
  absl::StatusOr<PeerHandle> ConnectPeer(const std::string& address) override {
    if (Hit(Fault::Kind::kConnectFails)) return Error(kUnavailable, "a fault: no connection");
    return inner_->ConnectPeer(address);
  }
  void ClosePeer(PeerHandle peer) override { inner_->ClosePeer(peer); }
  void OpenWindow(ReceiveWindow window) override { inner_->OpenWindow(std::move(window)); }
  void CloseWindow(TransferId transfer) override { inner_->CloseWindow(transfer); }
  void CancelSends(PeerHandle peer, TransferId transfer) override { inner_->CancelSends(peer, transfer); }
  TransportCounters Counters() const override { return inner_->Counters(); }

  SendHandle Send(PeerHandle peer, DataMessage message) override {
    if (Hit(Fault::Kind::kSendFails)) return Instead(Error(kUnavailable, "a fault: the send failed"));
    if (Hit(Fault::Kind::kSendLost)) return Instead(absl::OkStatus());
    if (Hit(Fault::Kind::kPeerGoesDown)) inner_->ClosePeer(peer);
    if (Hit(Fault::Kind::kSendTwice)) {
      // The hand-off does not know this handle: its report is nobody's, as a retransmission's would be.
      static_cast<void>(inner_->Send(peer, message));
    }
    return inner_->Send(peer, std::move(message));
  }
  SendHandle SendCanary(PeerHandle peer, std::uint64_t bytes) override {
    if (Hit(Fault::Kind::kCanaryFails)) return Instead(Error(kUnavailable, "a fault: the canary died"));
    return inner_->SendCanary(peer, bytes);
  }

  void OnReceived(Received received) override {
    if (Hit(Fault::Kind::kReceiveFails)) received.status = Error(kUnavailable, "a fault: the receive failed");
    if (Hit(Fault::Kind::kReceivedTwice)) events_->OnReceived(received);
    events_->OnReceived(std::move(received));
  }
  void OnDrained(TransferId transfer) override { events_->OnDrained(transfer); }
  void OnSent(const Sent& sent) override { events_->OnSent(sent); }
  void OnPeerDown(PeerHandle peer, const absl::Status& why) override { events_->OnPeerDown(peer, why); }

 private:
  bool Hit(Fault::Kind kind) {
    if (state_->fault.kind != kind || state_->seen.fetch_add(1) != state_->fault.at) return false;
    state_->happened = true;
    return true;
  }
  SendHandle Instead(const absl::Status& status) {
    const SendHandle handle((1ULL << 63) | ++instead_);
    events_->OnSent({.send = handle, .status = status});
    return handle;
  }

  std::shared_ptr<State> state_;
  TransportEvents* events_ = nullptr;
  std::uint64_t instead_ = 0;
  std::unique_ptr<Transport> inner_;  // its thread uses the above: destroyed first
};

}  // namespace baton::kvtransfer::test
