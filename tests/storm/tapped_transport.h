#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/random.h"
#include "kvtransfer/transport.h"

namespace baton::storm {

/// The UCX transport, watched: says when a transfer's data is posted, sent, placed, or its window closed, and
/// can send data again that must not land.
class TappedTransport final : public kvtransfer::Transport, public kvtransfer::TransportEvents {
 public:
  struct Hooks {
    /// On the control loop, before the message is given to UCX; says whose it is.
    std::function<RequestKey(const std::byte* source)> on_post;
    /// On the transfer thread or a checksum's.
    std::function<void()> on_sent;
    /// After it, where a large message is still on its way.
    std::function<void()> on_streaming;
    std::function<void(BlockIndex first)> on_placed;
    /// On the control loop, after.
    std::function<void()> on_connect;
    /// On the control loop, before.
    std::function<void()> on_close_window;
  };
  TappedTransport(std::unique_ptr<kvtransfer::Transport> inner, Hooks hooks)
      : hooks_(std::move(hooks)), garbage_(1U << 20, std::byte{0xdb}), inner_(std::move(inner)) {}

  absl::Status Start(const kvtransfer::ArenaView& arena, kvtransfer::TransportEvents& events) override {
    events_ = &events;
    block_bytes_ = arena.layout.BlockBytes();
    return inner_->Start(arena, *this);
  }
  std::string Name() const override { return inner_->Name(); }
  std::string LocalAddress() const override { return inner_->LocalAddress(); }
  absl::StatusOr<kvtransfer::PeerHandle> ConnectPeer(const std::string& address) override {
    auto peer = inner_->ConnectPeer(address);
    hooks_.on_connect();
    return peer;
  }
  void ClosePeer(kvtransfer::PeerHandle peer) override { inner_->ClosePeer(peer); }
  void OpenWindow(kvtransfer::ReceiveWindow window) override { inner_->OpenWindow(std::move(window)); }
  void CloseWindow(TransferId transfer) override {
    hooks_.on_close_window();
    inner_->CloseWindow(transfer);
  }
  void CancelSends(kvtransfer::PeerHandle peer, TransferId transfer) override {
    inner_->CancelSends(peer, transfer);
  }
  kvtransfer::TransportCounters Counters() const override { return inner_->Counters(); }
  kvtransfer::SendHandle Send(kvtransfer::PeerHandle peer, kvtransfer::DataMessage message) override {
    const RequestKey key = hooks_.on_post(message.pieces[0].data());
    if (remembered_.size() >= kRemembered) remembered_.erase(remembered_.begin());
    remembered_.push_back({.peer = peer, .key = key, .header = message.header});
    large_ = message.header.runs[0].blocks.count * block_bytes_ >= kLargeBytes;
    ++outstanding_;
    return inner_->Send(peer, std::move(message));
  }
  kvtransfer::SendHandle SendCanary(kvtransfer::PeerHandle peer, std::uint64_t bytes) override {
    ++outstanding_;
    return inner_->SendCanary(peer, bytes);
  }
  void OnReceived(kvtransfer::Received received) override {
    hooks_.on_placed(received.runs[0].blocks.first);
    events_->OnReceived(std::move(received));
  }
  void OnDrained(TransferId transfer) override { events_->OnDrained(transfer); }
  void OnSent(const kvtransfer::Sent& sent) override {
    hooks_.on_sent();
    if (--outstanding_ > 0 && large_) hooks_.on_streaming();
    events_->OnSent(sent);
  }
  void OnPeerDown(kvtransfer::PeerHandle peer, const absl::Status& why) override {
    events_->OnPeerDown(peer, why);
  }

  /// What was sent for `key` may be sent again by Inject. Control loop.
  void Ended(RequestKey key) {
    for (Remembered& old : remembered_) old.ended = old.ended || old.key == key;
  }
  /// Sends `count` messages of garbage, with right checksums, that no receiver may place: of transfers that
  /// have ended, with another incarnation, transfer, layer or block. Control loop. How many were sent.
  int Inject(int count, RandomStream& chance) {
    int sent = 0;
    for (int i = 0; i < count && !remembered_.empty(); ++i) {
      const Remembered& old =
          remembered_[static_cast<std::size_t>(chance.Between(0, std::ssize(remembered_) - 1))];
      kvtransfer::DataMessage message{.header = old.header, .pieces = {}};
      switch (chance.Between(old.ended ? 0 : 1, 5)) {
        case 0:
          break;  // as it was: late data
        case 1:
          ++message.header.receiver.value;
          break;
        case 2:
          message.header.transfer.low ^= 1;
          break;
        case 3:
          message.header.runs[0].layer = 999;
          break;
        case 4:
          message.header.runs[0].blocks.first.value += 1U << 20;
          break;
        default:
          message.header.runs[0].blocks.count += 1U << 20;  // the payload is shorter
      }
      for (const kvtransfer::DataRun& run : old.header.runs)
        message.pieces.push_back({garbage_.data(), run.blocks.count * block_bytes_});
      ++outstanding_;
      static_cast<void>(inner_->Send(old.peer, std::move(message)));  // its report is nobody's
      ++sent;
    }
    return sent;
  }

 private:
  static constexpr std::size_t kRemembered = 64;
  static constexpr std::size_t kLargeBytes = 256U << 10;
  struct Remembered {
    kvtransfer::PeerHandle peer;
    RequestKey key;
    kvtransfer::DataHeader header;
    bool ended = false;
  };

  const Hooks hooks_;
  const std::vector<std::byte> garbage_;
  std::size_t block_bytes_ = 0;
  std::atomic<std::int64_t> outstanding_ = 0;
  std::atomic<bool> large_ = false;     // of what was sent last
  std::vector<Remembered> remembered_;  // control loop
  kvtransfer::TransportEvents* events_ = nullptr;
  std::unique_ptr<kvtransfer::Transport> inner_;  // its thread uses the above: destroyed first
};

}  // namespace baton::storm
