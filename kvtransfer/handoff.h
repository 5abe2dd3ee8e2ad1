#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/base/device_copier.h"
#include "common/base/ids.h"
#include "common/base/memory_region.h"
#include "common/metrics/registry.h"
#include "common/net/connection.h"
#include "common/net/event_loop.h"

/// The KV hand-off between two workers, whole: pair connections, grants, the data plane, deadlines,
/// quarantine. What prefill and decode see of kvtransfer. Rules and message order: docs/PROTOCOL.md.
namespace baton::kvtransfer {

/// What both sides of a transfer must agree on, or convert, or refuse.
struct KvLayout {
  int layers = 0;
  int kv_heads = 0;  // of the model
  int head_dim = 0;
  int block_tokens = 16;
  int element_bytes = 4;
  std::string dtype;           // "f32", "bf16", "f16"
  std::string numerics_class;  // equal classes promise equal bits
  std::uint64_t model_fingerprint = 0;
  int ranks = 1;  // tensor-parallel; with more than heads, several hold the same one

  /// Layers of all ranks: the arena has them one rank's after another's.
  [[nodiscard]] int RankLayers() const { return layers * ranks; }
  /// Bytes of one block of one rank in one layer: [k|v][head][token][dim].
  [[nodiscard]] std::size_t BlockBytes() const {
    const int heads = ranks > kv_heads ? 1 : kv_heads / ranks;
    return std::size_t{2} * heads * block_tokens * head_dim * element_bytes;
  }
};

/// A worker's KV memory: [rank][layer][block] of BlockBytes() each.
struct ArenaView {
  MemoryRegion region;
  std::int64_t blocks = 0;
  KvLayout layout;
  /// The way to a region that the host cannot read; null: it can.
  std::shared_ptr<DeviceCopier> copier = nullptr;
  /// Where each rank's part begins, where they lie apart: `region` is then the first. Empty: they follow each
  /// other.
  std::vector<std::byte*> rank_parts = {};

  /// Block `block` of layer `row` of all ranks'.
  [[nodiscard]] std::byte* Block(std::size_t row, std::size_t block) const {
    const auto layers = static_cast<std::size_t>(layout.layers);
    const bool apart = !rank_parts.empty();
    std::byte* base = apart ? rank_parts[row / layers] : region.address;
    if (apart) row %= layers;
    return base + (row * static_cast<std::size_t>(blocks) + block) * layout.BlockBytes();
  }
};

struct HandoffOptions {
  std::string transport = "ucx";  // or "loopback": inside one process, for tests
  net::Address listen;            // pair control connections; port 0 = any
  std::string cluster_key;
  std::string cluster_id;        // workers of another one are refused by name, even where they know the key
  std::string net_device;        // UCX: the interface of the data plane, "" = all
  std::string tls = "tcp,self";  // UCX transports; shared memory is opt-in
  bool checksum = true;          // crc32c over every message
  /// Per layer and chunk; below, one shot after the prompt. 0: fitted to the peer's speed and a layer's time.
  std::uint64_t layer_wise_bytes_min = 0;
  std::size_t transfers_max = 1024;  // live, either direction
  bool wire_int8 = false;            // what this worker receives comes as 8-bit integers
  /// Of slots where messages are put together; with KV in a device's memory, and as much again where they
  /// land.
  std::uint64_t staging_bytes = 16U << 20;
  std::uint64_t credit_bytes = 64U << 20;       // that one peer may have under way to this worker
  std::uint64_t credit_bytes_least = 4U << 20;  // of each transfer, beyond that: one message
  Duration ping_interval = std::chrono::milliseconds(500);
  int pings_missed_max = 3;
  Duration lease = std::chrono::seconds(10);              // renewed by the sender's PING
  Duration transfer_deadline = std::chrono::seconds(30);  // from the producer's start to ACK
  Duration drain_deadline = std::chrono::seconds(2);      // of an abort, before the endpoint is force-closed
};

struct PeerInfo {
  WorkerId id;
  Incarnation incarnation;
  net::Address address;
  std::string name;
  bool dial = false;  // this side connects; the other waits
};

struct PeerStatus {
  WorkerId id;
  bool ready = false;  // connected both ways, warmed, canary transferred
  std::string transport;
  double bytes_per_second = 0;  // measured by the canary, then by transfers
};

/// Ends of a transfer; each side reaches exactly one.
enum class TransferEnd { kAcked, kFailed, kAborted, kExpired };
[[nodiscard]] std::string_view Name(TransferEnd end);

/// What travels in COMMIT beside the KV.
struct CommitInfo {
  TokenId first_token = 0;
  std::int64_t prompt_tokens = 0;  // positions whose KV has been sent
  std::int64_t cached_tokens = 0;  // of the prompt: not computed, but found on the sender
  /// Of the request's second answer and those after it.
  std::vector<TokenId> more_first_tokens = {};
  /// Of an answer that moves: its tokens so far. All else that it depends on (chance, penalties, grammar) is
  /// a function of them.
  std::vector<TokenId> answer = {};
  /// When the step ended that made the last of it. The receiver has it of a sender on its own host: there
  /// both read one clock.
  std::optional<TimePoint> computed_at = std::nullopt;
  /// On the receiver: since when all was here; not before `computed_at`, or else before COMMIT came.
  TimePoint arrived_at = {};
};

struct TransferStats {
  std::string transport;
  std::uint64_t bytes = 0;
  std::uint64_t messages = 0;
  Duration wire{};     // something of it was on the wire
  Duration exposed{};  // of that, after the last step
  Duration begin{};    // from the last step's end to the first byte on the wire, where that came later
  Duration whole{};    // from the last step's end to ACK
  bool layer_wise = false;
};

/// Receiving side of one transfer. All on the control loop, none from inside a call of Handoff.
struct ReceiverEvents {
  /// All KV is in the blocks and verified. The receiver owns them; the transport will not write again.
  std::function<void(const CommitInfo&)> on_committed;
  /// It will not commit. The blocks may still be written: quarantine them until on_released.
  std::function<void(TransferEnd, const absl::Status&)> on_failed;
  /// No write can land any more. Last, exactly once, after either of the above.
  std::function<void()> on_released;
};

/// Sending side of one transfer; same rules.
struct SenderEvents {
  /// The receiver's grant has come: data may flow. At most once.
  std::function<void()> on_granted;
  /// Of a send that grows: what was made ready is on the receiver, in place and verified.
  std::function<void()> on_idle = {};
  /// The transport reads the blocks no more. Last, exactly once.
  std::function<void(TransferEnd, const absl::Status&, const TransferStats&)> on_ended;
};

struct ReceiveRequest {
  RequestKey key;
  WorkerId sender;
  Incarnation sender_incarnation;
  std::int64_t prompt_tokens = 0;
  std::vector<BlockIndex> blocks;  // of the prompt's positions, in order
  /// COMMIT may name fewer positions than `prompt_tokens`, but not fewer than these; 0: exactly those.
  std::int64_t least_tokens = 0;
};

struct SendRequest {
  RequestKey key;
  WorkerId receiver;
  Incarnation receiver_incarnation;
  std::int64_t prompt_tokens = 0;
  std::vector<BlockIndex> blocks;
  /// An answer that is still written while it is sent: `prompt_tokens` bounds its positions, COMMIT says how
  /// many it has in the end, and its later blocks follow by `PositionsReady`. Full blocks go at once.
  bool grows = false;
};

/// One worker's end of all its hand-offs. Control loop only; the data plane's thread is inside.
class Handoff {
 public:
  struct Observer {
    std::function<void(const PeerStatus&)> on_peer;  // became ready, or was lost (ready = false)
  };
  /// Listens for peers. A required transport that is missing is an error that says how
  /// to get it.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Handoff>> Create(
      net::EventLoop& loop, const HandoffOptions& options, const ArenaView& arena, Incarnation incarnation,
      metrics::Registry& metrics, Observer observer);
  /// Ends every transfer, then the data plane, within a bounded time.
  virtual ~Handoff() = default;

  /// The port where peers connect.
  [[nodiscard]] virtual std::uint16_t Port() const = 0;
  /// The id that the router gave to this worker.
  virtual void SetSelf(WorkerId self) = 0;
  /// The workers to be connected with; those no longer named, or with a new incarnation, are dropped: their
  /// transfers fail.
  virtual void SetPeers(const std::vector<PeerInfo>& peers) = 0;
  [[nodiscard]] virtual std::vector<PeerStatus> Peers() const = 0;

  /// Mints a grant and sends it to the sender. An error means that nothing was begun and no event will come:
  /// an older attempt than one seen, an unknown peer or incarnation, too many transfers.
  [[nodiscard]] virtual absl::Status Receive(const ReceiveRequest& request, ReceiverEvents events) = 0;
  /// Fails the transfer (kAborted) and tells the peer; on_failed and on_released follow. Also remembers the
  /// key, so that a Receive that comes later is refused. Nothing where it has ended.
  virtual void AbortReceive(RequestKey key) = 0;

  /// Announces that KV of `key` will come; the grant may already be here or come later.
  [[nodiscard]] virtual absl::Status Send(const SendRequest& request, SenderEvents events) = 0;
  /// The producer has started: the transfer's deadline runs from here.
  virtual void ProducerStarted(RequestKey key) = 0;
  /// A layer's KV of positions [first, first + tokens) is final in the source blocks.
  virtual void LayerReady(RequestKey key, int layer, std::int64_t first_position, std::int64_t tokens) = 0;
  /// The same for every layer at once. `more_blocks` follow the source blocks named so far; only where it
  /// grows.
  virtual void PositionsReady(RequestKey key, std::int64_t first_position, std::int64_t tokens,
                              const std::vector<BlockIndex>& more_blocks) = 0;
  /// Every layer is ready; sends what is left and the COMMIT.
  virtual void Commit(RequestKey key, const CommitInfo& info) = 0;
  /// The same as AbortReceive, for the sending side; on_ended follows.
  virtual void AbortSend(RequestKey key) = 0;

  /// Live transfers, either direction, aborting ones included: 0 when idle.
  [[nodiscard]] virtual std::size_t LiveTransfers() const = 0;
};

}  // namespace baton::kvtransfer
