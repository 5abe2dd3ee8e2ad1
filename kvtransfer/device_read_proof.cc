#include "kvtransfer/device_read_proof.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/base/random.h"
#include "kvtransfer/send_plan.h"

namespace baton::kvtransfer {
namespace {

constexpr std::size_t kMessages = 2;

/// What the transport reports, until all has been sent and received.
class Reports final : public TransportEvents {
 public:
  void OnReceived(Received received) override { Count(received.status, received_); }
  void OnSent(const Sent& sent) override { Count(sent.status, sent_); }
  void OnDrained(TransferId) override {}
  void OnPeerDown(PeerHandle, const absl::Status& why) override {
    std::size_t none = 0;
    Count(why.ok() ? Error(kUnavailable, "the connection to itself is gone") : why, none);
  }
  absl::Status Wait(Duration patience) {
    std::unique_lock lock(mutex_);
    const auto over = [this] { return !first_error_.ok() || (received_ == kMessages && sent_ == kMessages); };
    if (!changed_.wait_for(lock, patience, over))
      return Error(kDeadlineExceeded, "{} of {} messages arrived, {} were sent, within {} ms", received_,
                   kMessages, sent_, std::chrono::duration_cast<std::chrono::milliseconds>(patience).count());
    return first_error_;
  }

 private:
  void Count(const absl::Status& status, std::size_t& counter) {
    const MutexLock lock(mutex_);
    ++counter;
    if (first_error_.ok()) first_error_ = status;
    changed_.notify_all();
  }

  Mutex mutex_;
  std::condition_variable changed_;
  std::size_t received_ = 0;  // guarded by mutex_, as the rest
  std::size_t sent_ = 0;
  absl::Status first_error_;
};

/// Blocks of the first layer: those that are sent, and as many behind them where they arrive.
struct Plan {
  std::size_t large = 0;  // blocks of the large message; the small one has the next
  std::size_t block_bytes = 0;
  [[nodiscard]] std::size_t Blocks() const { return large + 1; }
  [[nodiscard]] std::size_t Bytes() const { return Blocks() * block_bytes; }
};

absl::StatusOr<Plan> PlanFor(const ArenaView& arena) {
  if (arena.rank_parts.size() > 1)
    return Error(kUnimplemented, "the KV lies on {} GPUs, and a transport is sure to read those of one alone",
                 arena.rank_parts.size());
  Plan plan{.block_bytes = arena.layout.BlockBytes()};
  const std::size_t half = static_cast<std::size_t>(arena.blocks) / 2;
  if (half < 2) return Error(kFailedPrecondition, "an arena of {} blocks is too small to try", arena.blocks);
  // As large as messages from a GPU's memory are: a library takes another way for them than for a small one.
  plan.large = std::clamp<std::size_t>(kMessageBytesMax / plan.block_bytes, 1, half - 1);
  return plan;
}

/// The device's blocks [first, first + plan.Blocks()), as pieces of an area of the host's.
std::vector<DeviceCopier::Piece> PiecesOf(const ArenaView& arena, const Plan& plan, std::size_t first) {
  std::vector<DeviceCopier::Piece> pieces;
  for (std::size_t i = 0; i < plan.Blocks(); ++i)
    pieces.push_back({arena.Block(0, first + i), i * plan.block_bytes, plan.block_bytes});
  return pieces;
}

/// Sends both messages to itself and waits for them.
absl::Status SendToItself(Transport& transport, Reports& reports, const ArenaView& arena, const Plan& plan,
                          Duration patience) {
  BATON_RETURN_IF_ERROR(transport.Start(arena, reports));
  if (!transport.ReadsDeviceMemory()) return Error(kUnavailable, "it does not claim to, the second time");
  const TransferId transfer = NewTransferId();
  const Incarnation receiver = NewIncarnation();
  const auto blocks = static_cast<std::uint32_t>(plan.Blocks());
  const auto large = static_cast<std::uint32_t>(plan.large);
  transport.OpenWindow({.transfer = transfer,
                        .receiver = receiver,
                        .blocks = {{.first = BlockIndex(blocks), .count = blocks}}});
  BATON_ASSIGN_OR_RETURN(const PeerHandle itself, transport.ConnectPeer(transport.LocalAddress()));
  std::uint32_t sequence = 0;
  for (const auto& [first, count] : {std::pair{0U, large}, std::pair{large, 1U}}) {
    DataMessage message;
    message.header.sequence = sequence++;
    message.header.transfer = transfer;
    message.header.receiver = receiver;
    message.header.runs = {{.layer = 0, .blocks = {.first = BlockIndex(blocks + first), .count = count}}};
    message.pieces = {{arena.Block(0, first), count * plan.block_bytes}};
    transport.Send(itself, std::move(message));
  }
  return reports.Wait(patience);
}

}  // namespace

absl::Status ProveDeviceReads(std::unique_ptr<Transport> transport, const ArenaView& arena,
                              Duration patience) {
  BATON_CHECK(arena.copier != nullptr, "memory that the host reads needs no proof");
  BATON_ASSIGN_OR_RETURN(const Plan plan, PlanFor(arena));
  BATON_ASSIGN_OR_RETURN(const auto written, arena.copier->AllocateHost(plan.Bytes()));
  BATON_ASSIGN_OR_RETURN(const auto arrived, arena.copier->AllocateHost(plan.Bytes()));
  for (std::size_t i = 0; i < plan.Bytes(); ++i) written.get()[i] = static_cast<std::byte>(CounterBits(1, i));
  const auto sources = PiecesOf(arena, plan, 0);
  const auto targets = PiecesOf(arena, plan, plan.Blocks());
  BATON_RETURN_IF_ERROR(arena.copier->Scatter(written.get(), sources));

  Reports reports;
  absl::Status status = SendToItself(*transport, reports, arena, plan, patience);
  transport.reset();  // nothing is written from here on
  if (status.ok()) status = arena.copier->Gather(targets, arrived.get());
  if (status.ok() && std::memcmp(written.get(), arrived.get(), plan.Bytes()) != 0)
    status = Error(kDataLoss, "what arrived is not what lies in the GPU's memory");
  std::memset(written.get(), 0, plan.Bytes());
  BATON_RETURN_IF_ERROR(arena.copier->Scatter(written.get(), sources));
  BATON_RETURN_IF_ERROR(arena.copier->Scatter(written.get(), targets));
  return status;
}

}  // namespace baton::kvtransfer
