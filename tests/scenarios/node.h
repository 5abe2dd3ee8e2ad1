#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "kvtransfer/probe.h"
#include "kvtransfer/receive_side.h"
#include "kvtransfer/send_side.h"
#include "kvtransfer/side_host.h"
#include "tests/scenarios/block_ledger.h"
#include "tests/scenarios/data_network.h"
#include "tests/scenarios/world.h"

namespace baton::scenarios {

/// What a worker tells the router.
struct Report {
  RequestKey key{};
  bool released = false;  // else a token
  bool failed = false;
  bool moved = false;        // released: the answer goes on elsewhere
  bool move_failed = false;  // the answer that was to go on as `key` goes on here
  bool takes = false;        // what lies before `first` of what is to come back is here
  std::int64_t first = 0;
  int index = 0;
  int token = 0;
};

/// An order of the router.
struct Order {
  enum class Kind {
    kPrefill,
    kReserve,
    kCancel,
    kMove,
    kMoveStop,
    kTakeBack,
    kGiveBack
  } kind = Kind::kCancel;
  RequestKey key{};
  int peer = 0;
  Incarnation peer_incarnation{};
  std::int64_t prompt_tokens = 0;
  int tokens = 0;
  /// kMove: what goes on elsewhere, and there; kReserve: of an answer that moves here from `peer`. kGiveBack:
  /// as what it goes; with kTakeBack, how many positions.
  Attempt target{};
  std::int64_t positions_max = 0;
  int known = 0;           // tokens that the router has
  std::int64_t first = 0;  // kGiveBack: positions that the taker has
  bool keep = false;       // kReserve: the KV is to be held for a while when the answer has ended
};

/// What a process needs of the world around it.
struct Surroundings {
  std::function<void(int from, Report)> to_router;
  std::function<absl::Status(int from, int to, std::string)> to_peer;
  std::function<absl::StatusOr<kvtransfer::PeerHandle>(int from, int to, Incarnation)> ready;
  std::function<void(int from, int to, absl::Status)> reset;
  std::function<kvtransfer::KvLayout(int process)> layout;
};

[[nodiscard]] inline WorkerId IdOf(int process) {
  return WorkerId(static_cast<std::uint32_t>(process) + 1);
}

/// The answer's `index`-th token: the same whoever computes it.
[[nodiscard]] int TokenOf(RequestId request, int index);

/// One life of a worker that prefills and decodes: the real sending and receiving sides over a simulated
/// transport, and a caller that computes, checks and decodes. Every byte that it decodes from is compared.
class Node final : public kvtransfer::SideHost, public kvtransfer::TransportEvents {
 public:
  Node(World& world, DataNetwork& network, const Surroundings& surroundings, int process,
       const kvtransfer::HandoffOptions& options, const kvtransfer::Probe& probe);
  ~Node() override;

  [[nodiscard]] Incarnation GetIncarnation() const { return incarnation_; }
  [[nodiscard]] SimTransport& Wire() { return transport_; }

  void OnOrder(const Order& order);
  /// The router's connection is lost: all that it gave is cancelled.
  void CancelAll();
  /// A frame of the pair connection; false where it is malformed.
  [[nodiscard]] bool OnFrame(int from, const std::string& frame);
  void OnPeerLost(int peer, const absl::Status& why);
  [[nodiscard]] std::string Ping(int peer) const;
  /// What holds something still; empty where nothing does.
  [[nodiscard]] std::string Leftover() const;

  // SideHost
  TimePoint Now() const override { return world_.Now(); }
  void Post(std::function<void()> work) override;
  TransferId NewTransfer() override { return {.high = world_.Bits(), .low = world_.Bits()}; }
  absl::Status Send(WorkerId peer, const peer::Envelope& message) override;
  absl::StatusOr<kvtransfer::PeerHandle> Ready(WorkerId peer, Incarnation incarnation) const override;
  absl::StatusOr<kvtransfer::KvLayout> LayoutOf(WorkerId peer) const override;
  std::shared_ptr<kvtransfer::Stager> MakeStager(std::size_t slots, std::size_t slot_bytes) override;
  void ResetLater(WorkerId peer, const absl::Status& why) override;
  double Speed(WorkerId) const override { return 0; }
  void Measured(WorkerId, double) override {}

  // TransportEvents
  void OnReceived(kvtransfer::Received received) override;
  void OnDrained(TransferId transfer) override;
  void OnSent(const kvtransfer::Sent& sent) override;
  void OnPeerDown(kvtransfer::PeerHandle, const absl::Status&) override {}

 private:
  struct Prefilling {
    Order order{};
    std::vector<BlockIndex> blocks{};
    std::int64_t computed = 0;
    bool ended = false;
    bool given = false;  // its blocks, by a mutation
  };
  /// A decoding's way to another worker.
  struct Moving {
    RequestKey key{};
    std::int64_t positions_max = 0;
    std::int64_t sent = 0;
    int rounds = 0;
    bool committed = false;
  };
  struct Decoding {
    Order order{};
    std::vector<BlockIndex> blocks{};
    int reports = 0;  // of on_committed and on_failed
    bool failed = false;
    bool over = false;  // of a committed one: decoded or cancelled
    bool released = false;
    bool cancelled = false;
    bool given = false;
    int next = 0;
    bool paused = false;
    bool steps = false;  // a step is on its way
    std::optional<Moving> move = {};
  };
  /// KV of an answer that has ended here, for whoever may want it.
  struct Kept {
    std::vector<BlockIndex> blocks{};
    std::optional<RequestKey> sends = {};
    bool given = false;
  };
  /// KV of an answer that has ended elsewhere, on its way here, or here.
  struct Taken {
    std::vector<BlockIndex> blocks{};
    std::int64_t positions = 0;
    int reports = 0;
    bool failed = false;
    bool released = false;
    bool given = false;
  };
  void Keep(RequestKey key);
  void GiveBack(const Order& order);
  void DropKept(RequestKey key);
  void KeptOver(RequestKey key);
  void TakeBack(const Order& order);
  void TakenEnded(RequestKey key, bool failed);
  void TakenReleased(RequestKey key);
  void Evict(RequestKey key);
  /// Blocks for what runs; what is only kept, or comes back, gives way.
  [[nodiscard]] std::optional<std::vector<BlockIndex>> Take(std::size_t count, RequestKey key);
  void Prefill(const Order& order);
  void ComputeChunk(RequestKey key);
  void Reserve(const Order& order);
  void Committed(RequestKey key);
  void Failed(RequestKey key, const absl::Status& why);
  void Released(RequestKey key);
  void DecodeStep(RequestKey key);
  void Arrived(RequestKey key, const kvtransfer::CommitInfo& info);
  void Move(const Order& order);
  void MoveStop(RequestKey target);
  void MoveRound(RequestKey key, bool last);
  void MoveIdle(RequestKey key);
  void MoveEnded(RequestKey key, RequestKey target, kvtransfer::TransferEnd end);
  void GiveUpDecoding(RequestKey key);
  void EndDecoding(RequestKey key);
  void Cancel(RequestKey key);
  void Tick();
  void Tell(RequestKey key, bool failed);
  void FillForNothing(TransferId transfer);

  World& world_;
  DataNetwork& network_;
  const Surroundings& around_;
  const int process_;
  const Incarnation incarnation_;
  BlockLedger ledger_;
  SimTransport transport_;
  kvtransfer::ReceiveSide receive_;
  kvtransfer::SendSide send_;
  std::map<RequestKey, Prefilling> prefilling_;
  std::map<RequestKey, Decoding> decoding_;
  std::map<RequestKey, Kept> kept_;
  std::map<RequestKey, Taken> taken_;
  TimePoint last_post_{};
};

}  // namespace baton::scenarios
