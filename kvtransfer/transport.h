#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "kvtransfer/data_header.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/reslice.h"

/// The data plane: moves bytes between two arenas, and says when memory is safe to reuse. Knows no requests.
namespace baton::kvtransfer {

/// One end of a data-plane connection; never reused.
using PeerHandle = StrongId<struct PeerHandleTag, std::uint64_t>;
/// A posted send; never reused.
using SendHandle = StrongId<struct SendHandleTag, std::uint64_t>;

/// Where a transfer may write: the blocks that the grant names, in every layer.
struct ReceiveWindow {
  TransferId transfer;
  Incarnation receiver;          // this process; a message with another is stale
  std::vector<BlockRun> blocks;  // sorted by first, disjoint
  /// How blocks come where that is not as they lie in the arena.
  std::optional<WireFormat> wire = std::nullopt;
  Element element = Element::kF32;  // of the arena, where `wire` says how they come
};

/// A message to send. `pieces` lie in memory that stays untouched until on_sent.
struct DataMessage {
  DataHeader header;  // crc and payload_bytes are filled in by the transport
  std::vector<std::span<const std::byte>> pieces;
  std::shared_ptr<const void> memory =
      nullptr;  // that is to live as long as the pieces are read; may be null
};

struct Received {
  TransferId transfer;
  std::uint32_t sequence = 0;
  std::uint64_t bytes = 0;
  std::vector<DataRun> runs;
  absl::Status status;    // DataLoss: checksum; else the transport's own error
  TimePoint landed = {};  // when its last byte was in place, before it was verified
};

/// What became of a send.
struct Sent {
  SendHandle send;
  absl::Status status;
  TimePoint begun = {};  // when it went to the wire; never, where it waited to its end
  TimePoint ended = {};
};

/// What a transport reports; called on its own thread, so implementers post.
class TransportEvents {
 public:
  virtual ~TransportEvents() = default;
  /// A message of an open window has been placed, or failed.
  virtual void OnReceived(Received received) = 0;
  /// After CloseWindow: no write of this transfer can land any more.
  virtual void OnDrained(TransferId transfer) = 0;
  /// The pieces of a send are not read any more. Exactly once for each Send.
  virtual void OnSent(const Sent& sent) = 0;
  /// The peer is gone, or the endpoint was force-closed; its sends have been reported. Once.
  virtual void OnPeerDown(PeerHandle peer, const absl::Status& why) = 0;
};

struct TransportCounters {
  std::uint64_t dropped_messages = 0;  // unknown transfer, stale incarnation, outside its window, malformed
  std::uint64_t checksum_failures = 0;
  std::uint64_t leaked_receives = 0;  // never completed by the library; their blocks stay in quarantine
};

/// Calls from one thread (the control loop). The events may outlive the calls, not the transport.
class Transport {
 public:
  virtual ~Transport() = default;
  /// Begins. `events` outlives the transport.
  [[nodiscard]] virtual absl::Status Start(const ArenaView& arena, TransportEvents& events) = 0;
  /// "tcp", "shared memory", "loopback": what a connection made now would use.
  [[nodiscard]] virtual std::string Name() const = 0;
  /// What a peer needs to connect; a secret of the authenticated control channel.
  [[nodiscard]] virtual std::string LocalAddress() const = 0;

  [[nodiscard]] virtual absl::StatusOr<PeerHandle> ConnectPeer(const std::string& address) = 0;
  /// Force-closes; every send of this peer is then reported with an error, and OnPeerDown follows.
  virtual void ClosePeer(PeerHandle peer) = 0;

  virtual void OpenWindow(ReceiveWindow window) = 0;
  virtual void CloseWindow(TransferId transfer) = 0;

  virtual SendHandle Send(PeerHandle peer, DataMessage message) = 0;
  /// Sends of `transfer` that wait inside the transport are not begun any more: reported as Cancelled. Those
  /// under way end by themselves.
  virtual void CancelSends(PeerHandle peer, TransferId transfer) = 0;
  /// Sends a message of two pieces, then `bytes` of scratch, for warming and measuring; one OnSent at the
  /// end.
  virtual SendHandle SendCanary(PeerHandle peer, std::uint64_t bytes) = 0;
  /// It claims to send from a GPU's memory without help.
  [[nodiscard]] virtual bool ReadsDeviceMemory() const { return false; }
  [[nodiscard]] virtual TransportCounters Counters() const = 0;
};

/// Spoils received bytes before they are verified: a test's means to prove that the checksum looks.
using Tamper = std::function<void(const DataHeader& header, std::span<std::byte> placed)>;
/// Inside one process, for tests: a send is a copy on the calling thread.
[[nodiscard]] std::unique_ptr<Transport> CreateLoopbackTransport(const HandoffOptions& options,
                                                                 Tamper tamper = {});
/// UCX active messages.
[[nodiscard]] std::unique_ptr<Transport> CreateUcxTransport(const HandoffOptions& options);

}  // namespace baton::kvtransfer
