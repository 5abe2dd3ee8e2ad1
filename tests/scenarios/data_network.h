#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kvtransfer/receive_window.h"
#include "kvtransfer/transport.h"
#include "tests/scenarios/block_ledger.h"
#include "tests/scenarios/world.h"

namespace baton::scenarios {

/// How often, of 1000, the network does something to a DATA message.
struct DataFaults {
  std::int64_t corrupt = 0;  // a byte of the payload
  std::int64_t corrupt_header = 0;
  std::int64_t truncate = 0;
  std::int64_t repeat = 0;
  std::int64_t lose = 0;      // the rest of a message never comes; the sender is told that it was sent
  std::int64_t misroute = 0;  // reaches the process that has taken the place of a killed one
};

class SimTransport;

/// Where transports find each other, and what the network does to them.
struct DataNetwork {
  std::map<int, SimTransport*> transports;  // of the processes that live
  DataFaults faults;
  std::function<bool(int from, int to)> blocked;
  Mutation mutation = Mutation::kNone;
  bool checksum = true;
};

/// The data plane of one life of a process: a message is read from the sender's memory bit by bit while it is
/// sent, and lands bit by bit in the receiver's, so that memory that is reused too early is seen to be.
/// Header, windows and checksum are the real ones.
class SimTransport final : public kvtransfer::Transport {
 public:
  SimTransport(World& world, DataNetwork& network, int process, BlockLedger& ledger);
  ~SimTransport() override;

  /// The request that the next window is opened for.
  void ExpectWindowOf(RequestKey key) { expected_ = key; }
  /// A process was killed, or has closed its end: what it has not sent yet will not come.
  void PeerGone(int process);

  absl::Status Start(const kvtransfer::ArenaView& arena, kvtransfer::TransportEvents& events) override;
  std::string Name() const override { return "simulated"; }
  std::string LocalAddress() const override { return std::to_string(process_); }
  absl::StatusOr<kvtransfer::PeerHandle> ConnectPeer(const std::string& address) override;
  void ClosePeer(kvtransfer::PeerHandle peer) override;
  void OpenWindow(kvtransfer::ReceiveWindow window) override;
  void CloseWindow(TransferId transfer) override;
  kvtransfer::SendHandle Send(kvtransfer::PeerHandle peer, kvtransfer::DataMessage message) override;
  void CancelSends(kvtransfer::PeerHandle peer, TransferId transfer) override;
  kvtransfer::SendHandle SendCanary(kvtransfer::PeerHandle, std::uint64_t) override { return {}; }
  kvtransfer::TransportCounters Counters() const override { return {}; }

 private:
  struct Peer {
    int process = 0;
    bool closed = false;
    int outstanding = 0;
    std::deque<std::shared_ptr<struct Sending>> waiting{};
  };
  void Pump(kvtransfer::PeerHandle peer);
  void Begin(const std::shared_ptr<struct Sending>& sending);
  void SendPiece(const std::shared_ptr<struct Sending>& sending);
  void Sent(const std::shared_ptr<struct Sending>& sending, const absl::Status& status);
  void ReportDown(kvtransfer::PeerHandle handle);
  void Deliver(int to, const std::shared_ptr<struct Flight>& flight, std::size_t begin, std::size_t end,
               TimePoint at);
  void Repeat(int to, const Sending& sending);

  void Arrive(const std::shared_ptr<struct Flight>& flight, std::size_t begin, std::size_t end);
  void Accept(struct Flight& flight);
  [[nodiscard]] bool Owns(std::map<TransferId, RequestKey>::const_iterator owner,
                          const std::byte* address) const;
  void ViolateAt(const struct Flight& flight, const std::byte* address);
  [[nodiscard]] std::vector<std::span<std::byte>> PlacesOf(const kvtransfer::DataHeader& header) const;
  void Finish(const std::shared_ptr<struct Flight>& flight, const absl::Status& status);

  World& world_;
  DataNetwork& network_;
  const int process_;
  BlockLedger& ledger_;
  kvtransfer::TransportEvents* events_ = nullptr;
  std::unique_ptr<kvtransfer::ReceiveWindows> windows_;
  std::map<TransferId, RequestKey> window_owners_;  // of every window that was ever opened
  std::map<TransferId, bool> open_;
  RequestKey expected_{};
  std::map<kvtransfer::PeerHandle, Peer> peers_;
  std::vector<std::shared_ptr<struct Flight>> receiving_;
  std::uint64_t last_handle_ = 0;
};

}  // namespace baton::scenarios
