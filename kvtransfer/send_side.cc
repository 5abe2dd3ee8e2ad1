#include "kvtransfer/send_side.h"

#include <algorithm>
#include <deque>
#include <limits>

#include "common/base/check.h"
#include "common/base/error.h"
#include "kvtransfer/clock_id.h"
#include "kvtransfer/conversion.h"
#include "kvtransfer/layer_wise.h"
#include "kvtransfer/memory_path.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/wire_time.h"

namespace baton::kvtransfer {
namespace {

constexpr std::size_t kRememberedRequests = 16384;
/// Shorter transfers say more of latencies than of the wire.
constexpr std::uint64_t kMeasuredBytesMin = 1U << 20;

void ToWire(const CommitInfo& info, peer::Commit& out) {
  out.set_first_token(info.first_token);
  out.set_prompt_tokens(info.prompt_tokens);
  out.set_cached_tokens(info.cached_tokens);
  out.mutable_more_first_tokens()->Add(info.more_first_tokens.begin(), info.more_first_tokens.end());
  out.mutable_answer()->Add(info.answer.begin(), info.answer.end());
  out.set_clock(ClockId());
  out.set_computed_ns(info.computed_at->time_since_epoch().count());
}

}  // namespace

struct SendSide::Transfer {
  SendRequest request;
  PeerHandle link;  // that it began over, and ends with
  std::shared_ptr<SenderEvents> events;
  SenderMachine machine;
  SendPlan plan;
  Grant grant{};                           // transfer 0 until it has come
  std::optional<Conversion> conversion{};  // where messages are put together in slots
  std::uint64_t block_bytes = 0;           // on the wire
  std::uint64_t credit = 0;                // bytes that may have been sent since the beginning
  std::deque<PlannedMessage> ready{};      // planned, and waiting for credit
  CommitInfo commit{};
  std::uint32_t sequence = 0;
  TransferStats stats{};
  TimePoint last_layer{};  // when it was ready
  Duration layer_time{};
  std::uint64_t placed = 0;  // messages that the receiver has confirmed, of one that grows
  TimePoint acked{};
  WireTime on_wire{};
};

SendSide::SendSide(SideHost& host, const HandoffOptions& options, const ArenaView& arena,
                   Incarnation incarnation, Transport& transport, const Probe& probe)
    : host_(host),
      options_(options),
      arena_(arena),
      incarnation_(incarnation),
      transport_(transport),
      probe_(probe),
      staging_(host, options),
      attempts_(kRememberedRequests) {
  if (options_.layer_wise_bytes_min > 0)
    probe_.LayerWiseBytesMin(static_cast<double>(options_.layer_wise_bytes_min));
}

SendSide::~SendSide() = default;

absl::Status SendSide::CheckBlocks(const SendRequest& request) const {
  const std::int64_t block_tokens = arena_.layout.block_tokens;
  const std::int64_t needed = (request.prompt_tokens + block_tokens - 1) / block_tokens;
  const auto given = static_cast<std::int64_t>(request.blocks.size());
  if (request.prompt_tokens <= 0 || given > needed || (given < needed && !request.grows)) {
    return Error(kInvalidArgument, "{} blocks for {} prompt tokens", given, request.prompt_tokens);
  }
  for (const BlockIndex block : request.blocks) {
    if (block.value >= arena_.blocks) return Error(kInvalidArgument, "block {} of {}", block, arena_.blocks);
  }
  return absl::OkStatus();
}

absl::Status SendSide::Send(const SendRequest& request, SenderEvents events) {
  BATON_RETURN_IF_ERROR(CheckBlocks(request));
  BATON_ASSIGN_OR_RETURN(const PeerHandle link, host_.Ready(request.receiver, request.receiver_incarnation));
  if (transfers_.size() >= options_.transfers_max) {
    return Error(kResourceExhausted, "{} transfers are live, the limit", transfers_.size());
  }
  if (transfers_.contains(request.key) || !attempts_.Begin(request.key)) {
    return Error(kAborted, "request {}: this attempt was aborted, or a newer one was seen", request.key);
  }
  const SendPlan::Shape shape{.layers = arena_.layout.layers,
                              .block_tokens = arena_.layout.block_tokens,
                              .block_bytes = arena_.layout.BlockBytes(),
                              .layer_wise_bytes_min = FirstLayerWiseMin(request.grows),
                              .ranks = arena_.layout.ranks,
                              .message_bytes = arena_.copier != nullptr ? kMessageBytesMax : kMessageBytes};
  auto made = std::make_unique<Transfer>(
      Transfer{.request = request,
               .link = link,
               .events = std::make_shared<SenderEvents>(std::move(events)),
               .machine = SenderMachine({.transfer_deadline = options_.transfer_deadline,
                                         .drain_deadline = options_.drain_deadline}),
               .plan = SendPlan(shape, request.prompt_tokens, request.blocks)});
  made->stats.transport = transport_.Name();
  Transfer& transfer = *made;
  transfers_[request.key] = std::move(made);
  if (const auto early = early_.find(request.key); early != early_.end()) {
    const Early kept = std::move(early->second);
    early_.erase(early);
    if (kept.from == request.receiver) {
      Apply(transfer, kept.grant);
    } else {
      Refuse(kept.from, kept.grant.transfer, "the request goes to another worker");
    }
  }
  return absl::OkStatus();
}

void SendSide::OnGrant(WorkerId from, const peer::Grant& message) {
  Grant grant;
  if (const absl::Status read = FromWire(message, arena_.blocks * arena_.layout.block_tokens, grant);
      !read.ok()) {
    Refuse(from, FromWire(message.transfer()), Message(read));
    return;
  }
  if (grant.sender != incarnation_) {
    Refuse(from, grant.transfer, "the grant is for another incarnation of this worker");
    return;
  }
  const auto found = transfers_.find(grant.key);
  if (found != transfers_.end() && found->second->request.receiver != from) {
    Refuse(from, grant.transfer, "the request goes to another worker");
    return;
  }
  if (found != transfers_.end()) {
    Apply(*found->second, grant);
    return;
  }
  if (!attempts_.Accepts(grant.key)) {
    Refuse(from, grant.transfer, "the attempt was aborted here, or a newer one was seen");
    return;
  }
  if (early_.size() >= options_.transfers_max) {
    Refuse(from, grant.transfer, "too many grants wait for their prompts");
    return;
  }
  const RequestKey key = grant.key;
  if (const auto early = early_.find(key);
      early != early_.end() && early->second.grant.transfer != grant.transfer) {
    Refuse(early->second.from, early->second.grant.transfer, "another grant of this attempt has come");
  }
  early_[key] = {.from = from, .grant = std::move(grant), .until = host_.Now() + options_.lease};
}

void SendSide::Apply(Transfer& transfer, const Grant& grant) {
  if (transfer.machine.GetState() != SenderMachine::State::kWaiting) {  // repeated, or too late
    if (grant.transfer != transfer.grant.transfer) {
      Refuse(transfer.request.receiver, grant.transfer, "the attempt has another grant, or has ended");
    }
    return;
  }
  if (grant.prompt_tokens != transfer.request.prompt_tokens) {
    Refuse(transfer.request.receiver, grant.transfer, "the grant is for a prompt of another length");
    return;
  }
  transfer.grant = grant;
  transfer.credit = grant.credit_bytes;
  by_transfer_[grant.transfer] = transfer.request.key;
  absl::StatusOr<Conversion> conversion = Conversion::Create(arena_, grant);
  if (!conversion.ok()) {
    Run(transfer, transfer.machine.Abort(host_.Now(), TransferEnd::kFailed, conversion.status(),
                                         /*tell_peer=*/true));
    return;
  }
  const SendPlan::Shape shape = conversion->TargetShape(FirstLayerWiseMin(transfer.request.grows));
  transfer.block_bytes = shape.block_bytes;
  const bool alike = conversion->Trivial();
  if (alike) {
    transfer.plan.SetTarget(grant.blocks);
  } else {
    transfer.plan.SetTarget(grant.blocks, shape);
  }
  const MemoryFacts facts{.kind = arena_.region.kind,
                          .transport_reads_device = transport_reads_device_,
                          .checksum = options_.checksum,
                          .alike = alike};
  if (PathFrom(facts) == MemoryPath::kStaged) transfer.conversion = *std::move(conversion);
  Run(transfer, transfer.machine.Granted());
  Pump(transfer);
}

void SendSide::ProducerStarted(RequestKey key) {
  if (const auto found = transfers_.find(key); found != transfers_.end())
    found->second->machine.Started(host_.Now());
}

void SendSide::LayerReady(RequestKey key, int layer, std::int64_t first_position, std::int64_t tokens) {
  const auto found = transfers_.find(key);
  if (found == transfers_.end() || !found->second->machine.Live()) return;
  found->second->plan.LayerReady(layer, first_position, tokens);
  FitLayerWise(*found->second, layer);
  Pump(*found->second);
}

/// Before the time of a layer is known nothing goes early, unless the threshold is a given one.
std::uint64_t SendSide::FirstLayerWiseMin(bool grows) const {
  if (grows) return 1;
  return options_.layer_wise_bytes_min > 0 ? options_.layer_wise_bytes_min
                                           : std::numeric_limits<std::uint64_t>::max();
}

/// By the longest layer of the prompt so far: several that are reported at once say nothing.
void SendSide::FitLayerWise(Transfer& transfer, int layer) {
  if (options_.layer_wise_bytes_min > 0) return;
  const TimePoint now = host_.Now();
  if (layer > 0) transfer.layer_time = std::max(transfer.layer_time, now - transfer.last_layer);
  transfer.last_layer = now;
  const std::uint64_t bytes = LayerWiseBytesMin(host_.Speed(transfer.request.receiver), transfer.layer_time);
  transfer.plan.SetLayerWiseBytesMin(bytes);
  if (layer > 0) probe_.LayerWiseBytesMin(static_cast<double>(bytes));
}

void SendSide::PositionsReady(RequestKey key, std::int64_t first_position, std::int64_t tokens,
                              const std::vector<BlockIndex>& more_blocks) {
  const auto found = transfers_.find(key);
  if (found == transfers_.end() || !found->second->machine.Live()) return;
  Transfer& transfer = *found->second;
  BATON_CHECK(more_blocks.empty() || transfer.request.grows, "request {} does not grow", key);
  transfer.plan.AddSource(more_blocks);
  transfer.request.blocks.insert(transfer.request.blocks.end(), more_blocks.begin(), more_blocks.end());
  for (int layer = 0; layer < arena_.layout.layers; ++layer)
    transfer.plan.LayerReady(layer, first_position, tokens);
  Pump(transfer);
  ReportIfIdle(transfer);
}

/// Whoever sends in rounds is told when one is over; after COMMIT there is none.
void SendSide::ReportIfIdle(const Transfer& transfer) {
  const auto state = transfer.machine.GetState();
  const bool open = state == SenderMachine::State::kGranted || state == SenderMachine::State::kSending;
  const bool there = transfer.placed == transfer.stats.messages && transfer.machine.Outstanding() == 0;
  if (!transfer.request.grows || !open || !transfer.ready.empty() || !there) return;
  host_.Post([events = transfer.events] {
    if (events->on_idle) events->on_idle();
  });
}

void SendSide::Commit(RequestKey key, const CommitInfo& info) {
  const auto found = transfers_.find(key);
  if (found == transfers_.end() || !found->second->machine.Live()) return;
  Transfer& transfer = *found->second;
  BATON_CHECK(transfer.plan.AllReady(info.prompt_tokens), "request {} committed before its layers are ready",
              key);
  transfer.commit = info;
  if (!info.computed_at) transfer.commit.computed_at = host_.Now();
  transfer.plan.Finish(info.prompt_tokens);
  Pump(transfer);
}

void SendSide::Pump(Transfer& transfer) {
  const auto state = transfer.machine.GetState();
  if (state != SenderMachine::State::kGranted && state != SenderMachine::State::kSending) return;
  for (PlannedMessage& message : transfer.plan.Take()) transfer.ready.push_back(std::move(message));
  while (!transfer.ready.empty() && MayPost(transfer, transfer.ready.front())) {
    if (!Post(transfer, transfer.ready.front())) break;
    transfer.ready.pop_front();
  }
  if (transfer.plan.Complete() && transfer.ready.empty()) Run(transfer, transfer.machine.AllPosted());
}

void SendSide::PumpThoseThatWait() {
  for (std::size_t waiting = waiting_.size(); waiting > 0; --waiting) {
    const RequestKey key = waiting_.front();
    waiting_.pop_front();
    if (const auto found = transfers_.find(key); found != transfers_.end()) Pump(*found->second);
  }
}

bool SendSide::MayPost(const Transfer& transfer, const PlannedMessage& message) {
  std::uint64_t blocks = 0;
  for (const PlannedRun& run : message) blocks += run.count;
  return transfer.stats.bytes + blocks * transfer.block_bytes <= transfer.credit;
}

/// False where the message has to wait: for a slot, or because its peer is lost, which is being reported.
bool SendSide::Post(Transfer& transfer, const PlannedMessage& message) {
  const auto peer = host_.Ready(transfer.request.receiver, transfer.request.receiver_incarnation);
  if (!peer.ok()) return false;
  std::optional<SlotIndex> slot;
  if (transfer.conversion) {
    slot = staging_.Take();
    if (!slot) {
      if (std::ranges::find(waiting_, transfer.request.key) == waiting_.end())
        waiting_.push_back(transfer.request.key);
      return false;
    }
  }
  DataMessage data;
  data.header.sequence = transfer.sequence++;
  data.header.transfer = transfer.grant.transfer;
  data.header.receiver = transfer.grant.receiver;
  for (const PlannedRun& run : message) {
    data.header.runs.push_back({.layer = run.layer, .blocks = {.first = run.target, .count = run.count}});
    transfer.stats.bytes += run.count * transfer.block_bytes;
  }
  ++transfer.stats.messages;
  transfer.machine.Posted();
  if (slot) {
    PostStaged(transfer, message, std::move(data), *slot);
    return true;
  }
  for (const PlannedRun& run : message) {
    data.pieces.push_back({arena_.Block(run.layer, run.source.value), run.count * transfer.block_bytes});
  }
  posted_[transport_.Send(*peer, std::move(data))] = {.key = transfer.request.key, .slot = std::nullopt};
  return true;
}

/// The message counts as posted while it is made: until then, too, the source's blocks are read.
void SendSide::PostStaged(Transfer& transfer, const PlannedMessage& message, DataMessage data,
                          SlotIndex slot) {
  StageJob job = transfer.conversion->JobFor(message, transfer.request.blocks, transfer.plan.Tokens());
  data.pieces = {staging_.Bytes(slot, job.bytes)};
  data.memory = staging_.Memory();
  staging_.Make(slot, std::move(job),
                [this, key = transfer.request.key, slot, data = std::move(data)](const absl::Status& status) {
                  OnStaged(key, slot, data, status);
                });
}

void SendSide::OnStaged(RequestKey key, SlotIndex slot, DataMessage data, const absl::Status& status) {
  Transfer& transfer = *transfers_.at(key);
  const auto peer = host_.Ready(transfer.request.receiver, transfer.request.receiver_incarnation);
  if (status.ok() && peer.ok() && transfer.machine.Live()) {
    posted_[transport_.Send(*peer, std::move(data))] = {.key = key, .slot = slot};
    return;
  }
  staging_.Give(slot);
  const absl::Status why = !status.ok() ? status : !peer.ok() ? peer.status() : Error(kCancelled, "it ended");
  Run(transfer, transfer.machine.Sent(host_.Now(), why));
  PumpThoseThatWait();
}

bool SendSide::OnSent(const Sent& sent) {
  const auto found = posted_.find(sent.send);
  if (found == posted_.end()) return false;
  const Posted posted = found->second;
  posted_.erase(found);
  if (posted.slot) staging_.Give(*posted.slot);
  Transfer& transfer = *transfers_.at(posted.key);
  if (sent.begun != TimePoint{}) transfer.on_wire.Add(sent.begun, sent.ended);
  Run(transfer, transfer.machine.Sent(host_.Now(), sent.status));
  if (posted.slot) PumpThoseThatWait();
  if (const auto live = transfers_.find(posted.key); live != transfers_.end()) ReportIfIdle(*live->second);
  return true;
}

SendSide::Transfer* SendSide::FindGranted(WorkerId from, TransferId transfer) {
  const auto key = by_transfer_.find(transfer);
  if (key == by_transfer_.end()) return nullptr;
  Transfer& found = *transfers_.at(key->second);
  return found.request.receiver == from ? &found : nullptr;
}

void SendSide::OnCredit(WorkerId from, const peer::Credit& credit) {
  Transfer* transfer = FindGranted(from, FromWire(credit.transfer()));
  if (transfer == nullptr) {
    probe_.StaleMessage();
    return;
  }
  transfer->credit = std::max(transfer->credit, credit.bytes());  // repeated or late: nothing
  Pump(*transfer);
  if (credit.messages() <= transfer->placed) return;
  transfer->placed = credit.messages();
  ReportIfIdle(*transfer);
}

void SendSide::OnAck(WorkerId from, TransferId id) {
  Transfer* transfer = FindGranted(from, id);
  if (transfer == nullptr) {
    probe_.StaleMessage();
    return;
  }
  const TimePoint now = host_.Now();
  transfer->stats.layer_wise = transfer->plan.LayerWise();
  if (transfer->commit.computed_at) transfer->stats.whole = now - *transfer->commit.computed_at;
  transfer->acked = now;
  Run(*transfer, transfer->machine.Acked(now));
}

void SendSide::OnAbort(WorkerId from, const peer::Abort& abort) {
  const TransferId id = FromWire(abort.transfer());
  std::erase_if(early_, [&](const auto& entry) { return entry.second.grant.transfer == id; });
  Transfer* transfer = FindGranted(from, id);
  if (transfer == nullptr) return;
  const TransferEnd end = abort.failed() ? TransferEnd::kFailed : TransferEnd::kAborted;
  Run(*transfer,
      transfer->machine.Abort(host_.Now(), end, Error(kAborted, "the receiver says: {}", abort.reason()),
                              /*tell_peer=*/false));
}

void SendSide::Abort(RequestKey key) {
  attempts_.Abort(key);
  if (const auto early = early_.find(key); early != early_.end()) {
    Refuse(early->second.from, early->second.grant.transfer, "cancelled");
    early_.erase(early);
  }
  const auto found = transfers_.find(key);
  if (found == transfers_.end()) return;
  Run(*found->second,
      found->second->machine.Abort(host_.Now(), TransferEnd::kAborted, Error(kCancelled, "cancelled"),
                                   /*tell_peer=*/true));
}

void SendSide::OnPeerLost(WorkerId peer, const absl::Status& why) {
  std::erase_if(early_, [&](const auto& entry) { return entry.second.from == peer; });
  std::vector<Transfer*> lost;
  for (const auto& [key, transfer] : transfers_) {
    if (transfer->request.receiver == peer) lost.push_back(transfer.get());
  }
  for (Transfer* transfer : lost) {
    Run(*transfer, transfer->machine.Abort(host_.Now(), TransferEnd::kFailed, why, /*tell_peer=*/false));
  }
}

void SendSide::Tick() {
  const TimePoint now = host_.Now();
  std::erase_if(early_, [&](const auto& entry) {
    if (now < entry.second.until) return false;
    Refuse(entry.second.from, entry.second.grant.transfer, "its prompt has not come within the lease");
    return true;
  });
  std::vector<RequestKey> keys;
  for (const auto& [key, transfer] : transfers_) keys.push_back(key);
  for (const RequestKey key : keys) {
    const auto found = transfers_.find(key);
    if (found != transfers_.end()) Run(*found->second, found->second->machine.Tick(now));
  }
}

void SendSide::LiveOf(WorkerId peer, std::vector<TransferId>& out) const {
  for (const auto& [id, key] : by_transfer_) {
    if (transfers_.at(key)->request.receiver == peer) out.push_back(id);
  }
  for (const auto& [key, early] : early_) {
    if (early.from == peer) out.push_back(early.grant.transfer);
  }
}

void SendSide::Refuse(WorkerId peer, TransferId transfer, const std::string& reason) {
  peer::Envelope envelope;
  ToWire(transfer, *envelope.mutable_abort()->mutable_transfer());
  envelope.mutable_abort()->set_reason(reason);
  static_cast<void>(host_.Send(peer, envelope));
}

void SendSide::CountTimes(Transfer& transfer) {
  TransferStats& stats = transfer.stats;
  if (transfer.on_wire.Empty() || !transfer.commit.computed_at) return;
  const TimePoint computed = *transfer.commit.computed_at;
  stats.wire = transfer.on_wire.Whole();
  stats.exposed = transfer.on_wire.Since(computed);
  stats.begin = std::max(Duration::zero(), transfer.on_wire.Begin() - computed);
}

/// Where it was sent at one go the acknowledgement says when it was there, and a send's end only that the
/// kernel has it; where it was sent while it was computed, the times between do not count.
void SendSide::Measure(const Transfer& transfer) {
  const TransferStats& stats = transfer.stats;
  if (transfer.on_wire.Empty()) return;
  const Duration took = stats.layer_wise ? stats.wire : transfer.acked - transfer.on_wire.Begin();
  if (stats.bytes < kMeasuredBytesMin || took <= Duration{}) return;
  host_.Measured(transfer.request.receiver, static_cast<double>(stats.bytes) / Seconds(took));
}

void SendSide::Run(Transfer& transfer, const SenderMachine::Actions& actions) {
  using Kind = SenderMachine::Action::Kind;
  const WorkerId peer = transfer.request.receiver;
  for (const SenderMachine::Action& action : actions) {
    peer::Envelope envelope;
    switch (action.kind) {
      case Kind::kReportGranted:
        host_.Post([events = transfer.events] {
          if (events->on_granted) events->on_granted();
        });
        break;
      case Kind::kSendCommit: {
        peer::Commit& commit = *envelope.mutable_commit();
        ToWire(transfer.grant.transfer, *commit.mutable_transfer());
        ToWire(transfer.commit, commit);
        commit.set_bytes(transfer.stats.bytes);
        commit.set_messages(transfer.stats.messages);
        static_cast<void>(host_.Send(peer, envelope));
        break;
      }
      case Kind::kCancelSends:
        if (const auto link = host_.Ready(peer, transfer.request.receiver_incarnation); link.ok())
          transport_.CancelSends(*link, transfer.grant.transfer);
        break;
      case Kind::kSendAbort:
        if (transfer.grant.transfer == TransferId()) break;  // the peer knows nothing of it yet
        ToWire(transfer.grant.transfer, *envelope.mutable_abort()->mutable_transfer());
        envelope.mutable_abort()->set_failed(action.end != TransferEnd::kAborted);
        envelope.mutable_abort()->set_reason(Message(action.status));
        static_cast<void>(host_.Send(peer, envelope));
        break;
      case Kind::kForceClosePeer:
        host_.ResetOwnLink(peer, transfer.request.receiver_incarnation, transfer.link,
                           Error(kAborted, "worker {}: sends of an ended transfer did not drain", peer));
        break;
      case Kind::kReportEnded:
        CountTimes(transfer);
        probe_.Sent(action.end, transfer.stats);
        if (action.end == TransferEnd::kAcked) Measure(transfer);
        host_.Post([events = transfer.events, end = action.end, status = action.status,
                    stats = transfer.stats] { events->on_ended(end, status, stats); });
        attempts_.Abort(transfer.request.key);
        by_transfer_.erase(transfer.grant.transfer);
        transfers_.erase(RequestKey(transfer.request.key));
        return;  // the transfer is gone
    }
  }
}

}  // namespace baton::kvtransfer
