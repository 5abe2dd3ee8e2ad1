#include <algorithm>
#include <cstring>

#include <absl/container/flat_hash_map.h>

#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/mutex.h"
#include "kvtransfer/receive_window.h"
#include "kvtransfer/transport.h"

namespace baton::kvtransfer {
namespace {

class LoopbackTransport;

/// Every loopback transport of the process by its address. One lock for all: a send is a copy under it.
struct Hub {
  Mutex mutex;
  absl::flat_hash_map<std::string, LoopbackTransport*> transports;  // guarded by mutex
};

Hub& TheHub() {
  static Hub hub;
  return hub;
}

class LoopbackTransport final : public Transport {
 public:
  LoopbackTransport(const HandoffOptions& options, Tamper tamper)
      : checksum_(options.checksum), staging_bytes_(options.staging_bytes), tamper_(std::move(tamper)) {
    address_ = fmt::format("loopback-{:016x}", RandomBits());
    const MutexLock lock(TheHub().mutex);
    TheHub().transports[address_] = this;
  }
  ~LoopbackTransport() override {
    const MutexLock lock(TheHub().mutex);
    TheHub().transports.erase(address_);
  }

  absl::Status Start(const ArenaView& arena, TransportEvents& events) override {
    const MutexLock lock(TheHub().mutex);
    windows_ = std::make_unique<ReceiveWindows>(arena);
    events_ = &events;
    return windows_->Prepare(staging_bytes_);
  }
  std::string Name() const override { return "loopback"; }
  std::string LocalAddress() const override { return address_; }

  absl::StatusOr<PeerHandle> ConnectPeer(const std::string& address) override {
    const MutexLock lock(TheHub().mutex);
    if (!TheHub().transports.contains(address))
      return Error(kUnavailable, "no loopback transport '{}'", address);
    const PeerHandle handle(++last_handle_);
    peers_[handle] = address;
    return handle;
  }

  void ClosePeer(PeerHandle peer) override {
    const MutexLock lock(TheHub().mutex);
    if (peers_.erase(peer) > 0) events_->OnPeerDown(peer, Error(kAborted, "closed"));
  }

  void OpenWindow(ReceiveWindow window) override {
    const MutexLock lock(TheHub().mutex);
    windows_->Open(std::move(window));
  }

  void CloseWindow(TransferId transfer) override {
    const MutexLock lock(TheHub().mutex);
    if (windows_->Close(transfer)) events_->OnDrained(transfer);
  }

  SendHandle Send(PeerHandle peer, DataMessage message) override {
    const MutexLock lock(TheHub().mutex);
    const SendHandle send(++last_handle_);
    LoopbackTransport* target = Target(peer);
    if (target == nullptr) {
      events_->OnSent({.send = send, .status = Error(kUnavailable, "the peer is gone")});
      return send;
    }
    for (const auto& piece : message.pieces) {
      message.header.payload_bytes += static_cast<std::uint32_t>(piece.size());
    }
    if (checksum_) message.header.crc = BeginChecksum(message.header);
    for (const auto& piece : message.pieces) {
      if (checksum_) message.header.crc = Crc32c(piece, message.header.crc);
    }
    const TimePoint begun = std::chrono::steady_clock::now();
    target->Receive(message);
    events_->OnSent({.send = send, .status = {}, .begun = begun, .ended = std::chrono::steady_clock::now()});
    return send;
  }

  void CancelSends(PeerHandle, TransferId) override {}  // none waits

  SendHandle SendCanary(PeerHandle peer, std::uint64_t) override {
    const MutexLock lock(TheHub().mutex);
    const SendHandle send(++last_handle_);
    const absl::Status status =
        Target(peer) != nullptr ? absl::OkStatus() : Error(kUnavailable, "the peer is gone");
    events_->OnSent({.send = send, .status = status});
    return send;
  }

  TransportCounters Counters() const override {
    const MutexLock lock(TheHub().mutex);
    return counters_;
  }

 private:
  LoopbackTransport* Target(PeerHandle peer) {
    const auto address = peers_.find(peer);
    if (address == peers_.end()) return nullptr;
    const auto target = TheHub().transports.find(address->second);
    return target == TheHub().transports.end() ? nullptr : target->second;
  }

  /// Copies the pieces, one stream of bytes, into the window's places, another cut of the same length.
  void Receive(const DataMessage& message) {
    if (windows_ == nullptr) return;
    auto landing = windows_->Place(message.header);
    if (!landing.ok()) {
      ++counters_.dropped_messages;
      return;
    }
    windows_->Begin(message.header);
    std::size_t piece = 0;
    std::size_t offset = 0;
    std::uint32_t crc = checksum_ ? BeginChecksum(message.header) : 0;
    for (const std::span<std::byte> place : landing->places) {
      for (std::size_t done = 0; done < place.size();) {
        const auto from = message.pieces[piece].subspan(offset);
        const std::size_t count = std::min(from.size(), place.size() - done);
        std::memcpy(place.data() + done, from.data(), count);
        done += count;
        offset += count;
        if (offset == message.pieces[piece].size()) {
          ++piece;
          offset = 0;
        }
      }
      if (tamper_) tamper_(message.header, place);
      if (checksum_) crc = Crc32c(place, crc);
    }
    Received received{.transfer = message.header.transfer,
                      .sequence = message.header.sequence,
                      .bytes = message.header.payload_bytes,
                      .runs = message.header.runs,
                      .status = {},
                      .landed = std::chrono::steady_clock::now()};
    if (crc != message.header.crc) {
      ++counters_.checksum_failures;
      received.status = Error(kDataLoss, "message {}: checksum differs", received.sequence);
    } else {
      if (landing->Settles()) received.status = landing->Settle();
    }
    events_->OnReceived(std::move(received));
    if (windows_->End(message.header.transfer)) events_->OnDrained(message.header.transfer);
  }

  const bool checksum_;
  const std::uint64_t staging_bytes_;
  const Tamper tamper_;
  std::string address_;
  std::unique_ptr<ReceiveWindows> windows_;
  TransportEvents* events_ = nullptr;
  absl::flat_hash_map<PeerHandle, std::string> peers_;
  std::uint64_t last_handle_ = 0;
  TransportCounters counters_;
};

}  // namespace

std::unique_ptr<Transport> CreateLoopbackTransport(const HandoffOptions& options, Tamper tamper) {
  return std::make_unique<LoopbackTransport>(options, std::move(tamper));
}

}  // namespace baton::kvtransfer
