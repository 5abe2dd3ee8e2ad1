#include "kvtransfer/receive_side.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/log.h"
#include "kvtransfer/clock_id.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_messages.h"

namespace baton::kvtransfer {
namespace {

constexpr std::size_t kRememberedRequests = 16384;

absl::Status CheckBlocks(const std::vector<BlockIndex>& blocks, std::int64_t prompt_tokens,
                         const ArenaView& arena) {
  const std::int64_t needed = (prompt_tokens + arena.layout.block_tokens - 1) / arena.layout.block_tokens;
  if (prompt_tokens <= 0 || static_cast<std::int64_t>(blocks.size()) != needed) {
    return Error(kInvalidArgument, "{} blocks for {} prompt tokens, {} needed", blocks.size(), prompt_tokens,
                 needed);
  }
  for (const BlockIndex block : blocks) {
    if (block.value >= arena.blocks) return Error(kInvalidArgument, "block {} of {}", block, arena.blocks);
  }
  return absl::OkStatus();
}

/// What a transfer's sender and this worker agree on.
struct Agreed {
  KvShape source;
  KvShape target;
  WireFormat format;
};

absl::StatusOr<Agreed> Agree(const KvLayout& theirs, const KvLayout& ours, bool int8) {
  Agreed agreed;
  BATON_ASSIGN_OR_RETURN(agreed.source, ShapeOf(theirs));
  BATON_ASSIGN_OR_RETURN(agreed.target, ShapeOf(ours));
  agreed.format =
      WireFormatOf(agreed.source, agreed.target,
                   int8 ? Element::kInt8 : WireElement(agreed.source.element, agreed.target.element));
  return agreed;
}

std::vector<BlockRun> SortedRuns(std::vector<BlockIndex> blocks) {
  std::ranges::sort(blocks);
  return RunsOf(blocks);
}

}  // namespace

struct ReceiveSide::Transfer {
  TransferId id;
  ReceiveRequest request;
  PeerHandle link;  // that it began over, and ends with
  std::shared_ptr<ReceiverEvents> events;
  ReceiverMachine machine;
  std::uint64_t block_bytes = 0;  // that come for one block, over all layers
  TimePoint landed{};             // the last message so far
};

ReceiveSide::ReceiveSide(SideHost& host, const HandoffOptions& options, const ArenaView& arena,
                         Incarnation incarnation, Transport& transport, const Probe& probe)
    : host_(host),
      options_(options),
      arena_(arena),
      incarnation_(incarnation),
      transport_(transport),
      probe_(probe),
      attempts_(kRememberedRequests) {}

ReceiveSide::~ReceiveSide() = default;

absl::Status ReceiveSide::Receive(const ReceiveRequest& request, ReceiverEvents events) {
  BATON_RETURN_IF_ERROR(CheckBlocks(request.blocks, request.prompt_tokens, arena_));
  BATON_ASSIGN_OR_RETURN(const PeerHandle link, host_.Ready(request.sender, request.sender_incarnation));
  BATON_ASSIGN_OR_RETURN(const KvLayout theirs, host_.LayoutOf(request.sender));
  BATON_ASSIGN_OR_RETURN(const Agreed agreed, Agree(theirs, arena_.layout, options_.wire_int8));
  if (transfers_.size() >= options_.transfers_max) {
    return Error(kResourceExhausted, "{} transfers are live, the limit", transfers_.size());
  }
  if (by_key_.contains(request.key) || !attempts_.Begin(request.key)) {
    return Error(kAborted, "request {}: this attempt was aborted, or a newer one was seen", request.key);
  }
  const std::uint64_t block_bytes =
      agreed.format.BlockBytes() * static_cast<std::uint64_t>(arena_.layout.RankLayers());
  const TransferId id = host_.NewTransfer();
  const Grant grant{.key = request.key,
                    .transfer = id,
                    .receiver = incarnation_,
                    .sender = request.sender_incarnation,
                    .prompt_tokens = request.prompt_tokens,
                    .blocks = request.blocks,
                    .lease = options_.lease,
                    .credit_bytes = CreditOf(request.sender).Open(id, request.blocks.size() * block_bytes),
                    .receiver_shape = PairShapeOf(agreed.target),
                    .sender_shape = PairShapeOf(agreed.source),
                    .wire = agreed.format.element};
  ReceiveWindow window{.transfer = id, .receiver = incarnation_, .blocks = SortedRuns(request.blocks)};
  if (agreed.format.element != agreed.target.element) window.wire = agreed.format;
  window.element = agreed.target.element;
  transport_.OpenWindow(std::move(window));
  peer::Envelope envelope;
  ToWire(grant, *envelope.mutable_grant());
  const ReceiverMachine::Limits limits{.lease = options_.lease,
                                       .transfer_deadline = options_.transfer_deadline,
                                       .drain_deadline = options_.drain_deadline};
  transfers_[id] = std::make_unique<Transfer>(
      Transfer{.id = id,
               .request = request,
               .link = link,
               .events = std::make_shared<ReceiverEvents>(std::move(events)),
               .machine = ReceiverMachine(limits, host_.Now(), arena_.layout.RankLayers(), request.blocks),
               .block_bytes = block_bytes});
  by_key_[request.key] = id;
  if (const absl::Status sent = host_.Send(request.sender, envelope); !sent.ok()) {
    Transfer& transfer = *transfers_.at(id);
    Run(transfer, transfer.machine.Abort(host_.Now(), TransferEnd::kFailed, sent, /*tell_peer=*/false));
  }
  return absl::OkStatus();
}

void ReceiveSide::Abort(RequestKey key) {
  attempts_.Abort(key);
  const auto id = by_key_.find(key);
  if (id == by_key_.end()) return;
  Transfer& transfer = *transfers_.at(id->second);
  Run(transfer, transfer.machine.Abort(host_.Now(), TransferEnd::kAborted, Error(kCancelled, "cancelled"),
                                       /*tell_peer=*/true));
}

void ReceiveSide::OnPlaced(const Received& received) {
  const auto found = transfers_.find(received.transfer);
  if (found == transfers_.end()) return;
  found->second->landed = std::max(found->second->landed, received.landed);
  if (received.status.code() == kDataLoss) probe_.ChecksumFailed();
  probe_.Received(received.bytes);
  if (received.status.ok() && found->second->machine.Live()) {
    const WorkerId sender = found->second->request.sender;
    SendCredit(sender, CreditOf(sender).Placed(received.transfer, received.bytes));
  }
  Run(*found->second, found->second->machine.Placed(host_.Now(), received.runs, received.status));
  if (found->second->request.least_tokens > 0 && found->second->machine.Live()) Confirm(*found->second);
}

/// The sender of an answer that is still written learns when a round is here: that its sends have ended says
/// only that the kernels have them, megabytes perhaps, for which the answer would then stand still.
void ReceiveSide::Confirm(const Transfer& transfer) {
  peer::Envelope envelope;
  ToWire(transfer.id, *envelope.mutable_credit()->mutable_transfer());
  envelope.mutable_credit()->set_messages(transfer.machine.Messages());
  static_cast<void>(host_.Send(transfer.request.sender, envelope));
}

void ReceiveSide::OnDrained(TransferId transfer) {
  const auto found = transfers_.find(transfer);
  if (found != transfers_.end()) Run(*found->second, found->second->machine.Drained());
}

ReceiveSide::Transfer* ReceiveSide::Find(WorkerId from, TransferId transfer) {
  const auto found = transfers_.find(transfer);
  return found != transfers_.end() && found->second->request.sender == from ? found->second.get() : nullptr;
}

void ReceiveSide::OnCommit(WorkerId from, const peer::Commit& commit) {
  Transfer* transfer = Find(from, FromWire(commit.transfer()));
  if (transfer == nullptr) {
    probe_.StaleMessage();
    return;
  }
  const ReceiveRequest& request = transfer->request;
  const std::int64_t least = request.least_tokens > 0 ? request.least_tokens : request.prompt_tokens;
  const std::int64_t tokens = std::clamp(commit.prompt_tokens(), least, request.prompt_tokens);
  const std::int64_t block_tokens = arena_.layout.block_tokens;
  const auto blocks = static_cast<std::size_t>((tokens + block_tokens - 1) / block_tokens);
  const std::uint64_t bytes = blocks * transfer->block_bytes;
  if (commit.prompt_tokens() != tokens || commit.bytes() != bytes) {
    Run(*transfer,
        transfer->machine.Abort(
            host_.Now(), TransferEnd::kFailed,
            Error(kInvalidArgument, "COMMIT of {} prompt tokens and {} bytes, {} and {} were granted",
                  commit.prompt_tokens(), commit.bytes(), tokens, bytes),
            /*tell_peer=*/true));
    return;
  }
  const TimePoint now = host_.Now();
  CommitInfo info{.first_token = commit.first_token(),
                  .prompt_tokens = commit.prompt_tokens(),
                  .cached_tokens = commit.cached_tokens(),
                  .more_first_tokens = {commit.more_first_tokens().begin(), commit.more_first_tokens().end()},
                  .answer = {commit.answer().begin(), commit.answer().end()},
                  .arrived_at = now};
  const TimePoint computed{Duration(commit.computed_ns())};
  if (commit.clock() != 0 && commit.clock() == ClockId() && commit.computed_ns() >= 0 && computed <= now)
    info.computed_at = info.arrived_at = computed;
  Run(*transfer, transfer->machine.Committed(now, info, commit.messages(), blocks));
}

void ReceiveSide::OnAbort(WorkerId from, const peer::Abort& abort) {
  Transfer* transfer = Find(from, FromWire(abort.transfer()));
  if (transfer == nullptr) return;
  const TransferEnd end = abort.failed() ? TransferEnd::kFailed : TransferEnd::kAborted;
  Run(*transfer,
      transfer->machine.Abort(host_.Now(), end, Error(kAborted, "the sender says: {}", abort.reason()),
                              /*tell_peer=*/false));
}

void ReceiveSide::Renew(WorkerId from, TransferId transfer) {
  if (Transfer* found = Find(from, transfer); found != nullptr) found->machine.Renew(host_.Now());
}

void ReceiveSide::OnPeerLost(WorkerId peer, const absl::Status& why) {
  std::vector<Transfer*> lost;
  for (const auto& [id, transfer] : transfers_) {
    if (transfer->request.sender == peer) lost.push_back(transfer.get());
  }
  for (Transfer* transfer : lost) {
    Run(*transfer, transfer->machine.Abort(host_.Now(), TransferEnd::kFailed, why, /*tell_peer=*/false));
  }
}

void ReceiveSide::Tick() {
  std::vector<TransferId> ids;
  for (const auto& [id, transfer] : transfers_) ids.push_back(id);
  for (const TransferId id : ids) {
    const auto found = transfers_.find(id);
    if (found != transfers_.end()) Run(*found->second, found->second->machine.Tick(host_.Now()));
  }
}

void ReceiveSide::LiveOf(WorkerId peer, std::vector<TransferId>& out) const {
  for (const auto& [id, transfer] : transfers_) {
    if (transfer->request.sender == peer && transfer->machine.Live()) out.push_back(id);
  }
}

void ReceiveSide::Report(const std::shared_ptr<ReceiverEvents>& events,
                         std::function<void(const ReceiverEvents&)> report) {
  host_.Post([events, report = std::move(report)] { report(*events); });
}

CreditWindow& ReceiveSide::CreditOf(WorkerId peer) {
  return credit_
      .try_emplace(peer, CreditWindow::Limits{.window = options_.credit_bytes,
                                              .least = std::max<std::uint64_t>(options_.credit_bytes_least,
                                                                               arena_.layout.BlockBytes())})
      .first->second;
}

void ReceiveSide::SendCredit(WorkerId peer, const CreditWindow::Grants& grants) {
  for (const auto& [transfer, bytes] : grants) {
    peer::Envelope envelope;
    ToWire(transfer, *envelope.mutable_credit()->mutable_transfer());
    envelope.mutable_credit()->set_bytes(bytes);
    static_cast<void>(host_.Send(peer, envelope));
  }
}

void ReceiveSide::EndCredit(WorkerId peer, TransferId transfer) {
  CreditWindow& credit = CreditOf(peer);
  SendCredit(peer, credit.Close(transfer));
  if (credit.Empty()) credit_.erase(peer);
}

CommitInfo ReceiveSide::CommitOf(const Transfer& transfer) {
  CommitInfo info = *transfer.machine.Commit();
  info.arrived_at = std::max(info.arrived_at, transfer.landed);
  return info;
}

void ReceiveSide::Run(Transfer& transfer, const ReceiverMachine::Actions& actions) {
  using Kind = ReceiverMachine::Action::Kind;
  for (const ReceiverMachine::Action& action : actions) {
    peer::Envelope envelope;
    switch (action.kind) {
      case Kind::kCloseWindow:
        EndCredit(transfer.request.sender, transfer.id);
        transport_.CloseWindow(transfer.id);
        break;
      case Kind::kSendAck:
        ToWire(transfer.id, *envelope.mutable_ack()->mutable_transfer());
        static_cast<void>(host_.Send(transfer.request.sender, envelope));
        break;
      case Kind::kSendAbort:
        ToWire(transfer.id, *envelope.mutable_abort()->mutable_transfer());
        envelope.mutable_abort()->set_failed(action.end != TransferEnd::kAborted);
        envelope.mutable_abort()->set_reason(Message(action.status));
        static_cast<void>(host_.Send(transfer.request.sender, envelope));
        break;
      case Kind::kForceClosePeer:
        host_.ResetOwnLink(
            transfer.request.sender, transfer.request.sender_incarnation, transfer.link,
            Error(kAborted, "worker {}: an aborted transfer did not drain", transfer.request.sender));
        break;
      case Kind::kReportCommitted:
        probe_.ReceiveEnded(TransferEnd::kAcked);
        Report(transfer.events,
               [info = CommitOf(transfer)](const ReceiverEvents& events) { events.on_committed(info); });
        break;
      case Kind::kReportFailed:
        probe_.ReceiveEnded(action.end);
        Report(transfer.events, [end = action.end, status = action.status](const ReceiverEvents& events) {
          events.on_failed(end, status);
        });
        break;
      case Kind::kReportReleased:
        Report(transfer.events, [](const ReceiverEvents& events) { events.on_released(); });
        attempts_.Abort(transfer.request.key);
        by_key_.erase(transfer.request.key);
        transfers_.erase(TransferId(transfer.id));
        return;  // the transfer is gone
    }
  }
}

}  // namespace baton::kvtransfer
