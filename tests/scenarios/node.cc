#include "tests/scenarios/node.h"

#include "common/base/error.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_messages.h"

namespace baton::scenarios {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(50);

int ProcessOf(WorkerId id) {
  return static_cast<int>(id.value) - 1;
}

/// A message is made some time after it was ordered, of what the blocks hold then: they must still be its
/// own.
class SimStager final : public kvtransfer::Stager {
 public:
  SimStager(World& world, int process, const BlockLedger& ledger, std::size_t slots, std::size_t slot_bytes)
      : world_(world),
        process_(process),
        ledger_(ledger),
        inner_(kvtransfer::CreateHostStager(slots, slot_bytes, /*own_thread=*/false)) {}
  std::size_t SlotCount() const override { return inner_->SlotCount(); }
  std::size_t SlotBytes() const override { return inner_->SlotBytes(); }
  std::span<std::byte> Slot(kvtransfer::SlotIndex slot) override { return inner_->Slot(slot); }
  void Gather(kvtransfer::SlotIndex slot, kvtransfer::StageJob job, Done done) override {
    const auto owner = job.pieces.empty() ? std::nullopt : ledger_.OwnerAt(job.pieces.front().source);
    world_.After(world_.Delay(1, 5'000), process_, [this, slot, owner, job, done] {
      for (const auto& piece : job.pieces) {
        if (!owner || ledger_.OwnerAt(piece.source) != owner) {
          return world_.Violate(
              fmt::format("worker {}: block {} is read for a message after it was given away", process_,
                          ledger_.BlockAt(piece.source)));
        }
      }
      inner_->Gather(slot, job, done);
    });
  }
  void Finish() override {}  // what is still to come ends with the process

 private:
  World& world_;
  const int process_;
  const BlockLedger& ledger_;
  const std::unique_ptr<kvtransfer::Stager> inner_;
};

}  // namespace

int TokenOf(RequestId request, int index) {
  return static_cast<int>(Mix64(request.value * 131 + static_cast<std::uint64_t>(index)) % 50'000);
}

Node::Node(World& world, DataNetwork& network, const Surroundings& surroundings, int process,
           const kvtransfer::HandoffOptions& options, const kvtransfer::Probe& probe)
    : world_(world),
      network_(network),
      around_(surroundings),
      process_(process),
      incarnation_(world.Bits()),
      ledger_(world, process, surroundings.layout(process)),
      transport_(world, network, process, ledger_),
      receive_(*this, options, ledger_.Arena(), incarnation_, transport_, probe),
      send_(*this, options, ledger_.Arena(), incarnation_, transport_, probe) {
  static_cast<void>(transport_.Start(ledger_.Arena(), *this));
  if (network_.mutation != Mutation::kNoTimers) world_.After(kTick, process_, [this] { Tick(); });
}

Node::~Node() = default;

void Node::Tick() {
  send_.Tick();
  receive_.Tick();
  world_.After(kTick, process_, [this] { Tick(); });
}

void Node::Post(std::function<void()> work) {
  last_post_ = std::max(last_post_, Now() + world_.Delay(1, 200));
  world_.After(last_post_ - Now(), process_, std::move(work));
}

absl::Status Node::Send(WorkerId peer, const peer::Envelope& message) {
  world_.Log("worker {}: -> worker {}: {}", process_, ProcessOf(peer), message.ShortDebugString());
  return around_.to_peer(process_, ProcessOf(peer), message.SerializeAsString());
}

absl::StatusOr<kvtransfer::PeerHandle> Node::Ready(WorkerId peer, Incarnation incarnation) const {
  return around_.ready(process_, ProcessOf(peer), incarnation);
}

absl::StatusOr<kvtransfer::KvLayout> Node::LayoutOf(WorkerId peer) const {
  return around_.layout(ProcessOf(peer));
}

std::shared_ptr<kvtransfer::Stager> Node::MakeStager(std::size_t slots, std::size_t slot_bytes) {
  return std::make_shared<SimStager>(world_, process_, ledger_, slots, slot_bytes);
}

void Node::ResetLater(WorkerId peer, const absl::Status& why) {
  Post([this, peer, why] { around_.reset(process_, ProcessOf(peer), why); });
}

void Node::OnReceived(kvtransfer::Received received) {
  Post([this, received = std::move(received)] { receive_.OnPlaced(received); });
}
void Node::OnDrained(TransferId transfer) {
  Post([this, transfer] { receive_.OnDrained(transfer); });
}
void Node::OnSent(const kvtransfer::Sent& sent) {
  Post([this, sent] { static_cast<void>(send_.OnSent(sent)); });
}

bool Node::OnFrame(int from, const std::string& frame) {
  peer::Envelope message;
  if (!message.ParseFromString(frame)) return false;
  const WorkerId peer = IdOf(from);
  switch (message.body_case()) {
    case peer::Envelope::kGrant:
      send_.OnGrant(peer, message.grant());
      return true;
    case peer::Envelope::kCommit:
      if (network_.mutation == Mutation::kNoCompleteness)
        FillForNothing(kvtransfer::FromWire(message.commit().transfer()));
      receive_.OnCommit(peer, message.commit());
      return true;
    case peer::Envelope::kAck:
      send_.OnAck(peer, kvtransfer::FromWire(message.ack().transfer()));
      return true;
    case peer::Envelope::kAbort:
      send_.OnAbort(peer, message.abort());
      receive_.OnAbort(peer, message.abort());
      return true;
    case peer::Envelope::kCredit:
      send_.OnCredit(peer, message.credit());
      return true;
    case peer::Envelope::kPing:
      for (const peer::Id& id : message.ping().transfers()) receive_.Renew(peer, kvtransfer::FromWire(id));
      return true;
    case peer::Envelope::kHello:
    case peer::Envelope::kRefused:
    case peer::Envelope::kMeasured:
    case peer::Envelope::BODY_NOT_SET:
      return false;
  }
  return false;
}

/// A mutation: all blocks count as received.
void Node::FillForNothing(TransferId transfer) {
  kvtransfer::Received all{.transfer = transfer, .sequence = 0, .bytes = 0, .runs = {}, .status = {}};
  for (std::uint16_t layer = 0; layer < ledger_.Layout().RankLayers(); ++layer) {
    all.runs.push_back({.layer = layer, .blocks = {.first = BlockIndex(0), .count = BlockLedger::kBlocks}});
  }
  receive_.OnPlaced(all);
}

void Node::OnPeerLost(int peer, const absl::Status& why) {
  send_.OnPeerLost(IdOf(peer), why);
  receive_.OnPeerLost(IdOf(peer), why);
}

std::string Node::Ping(int peer) const {
  peer::Envelope ping;
  ping.mutable_ping();
  std::vector<TransferId> live;
  send_.LiveOf(IdOf(peer), live);
  for (const TransferId id : live) kvtransfer::ToWire(id, *ping.mutable_ping()->add_transfers());
  return ping.SerializeAsString();
}

void Node::OnOrder(const Order& order) {
  switch (order.kind) {
    case Order::Kind::kPrefill:
      return Prefill(order);
    case Order::Kind::kReserve:
      return Reserve(order);
    case Order::Kind::kCancel:
      return Cancel(order.key);
    case Order::Kind::kMove:
      return Move(order);
    case Order::Kind::kMoveStop:
      return MoveStop(order.key);
    case Order::Kind::kTakeBack:
      return TakeBack(order);
    case Order::Kind::kGiveBack:
      return GiveBack(order);
  }
}

void Node::Tell(RequestKey key, bool failed) {
  around_.to_router(process_, {.key = key, .released = true, .failed = failed});
}

void Node::Prefill(const Order& order) {
  const RequestKey key = order.key;
  const auto blocks = Take(ledger_.BlocksFor(order.prompt_tokens), key);
  if (!blocks) return Tell(key, true);
  const absl::Status sent =
      send_.Send({.key = key,
                  .receiver = IdOf(order.peer),
                  .receiver_incarnation = order.peer_incarnation,
                  .prompt_tokens = order.prompt_tokens,
                  .blocks = *blocks},
                 {.on_granted = [] {},
                  .on_ended =
                      [this, key](kvtransfer::TransferEnd end, const absl::Status& why, const auto&) {
                        const auto found = prefilling_.find(key);
                        if (found == prefilling_.end()) {
                          return world_.Violate(fmt::format("worker {}: a send ended twice", process_));
                        }
                        world_.Log("worker {}: send of {}.{} ended: {} {}", process_, key.request.value,
                                   key.attempt.value, kvtransfer::Name(end), Message(why));
                        if (!found->second.given) ledger_.Give(found->second.blocks, key);
                        prefilling_.erase(found);
                        Tell(key, end != kvtransfer::TransferEnd::kAcked);
                      }});
  if (!sent.ok()) {
    world_.Log("worker {}: no send of {}.{}: {}", process_, key.request.value, key.attempt.value,
               Message(sent));
    ledger_.Give(*blocks, key);
    return Tell(key, true);
  }
  prefilling_[key] = {.order = order, .blocks = *blocks};
  world_.After(world_.Delay(100, 60'000), process_, [this, key] {
    if (!prefilling_.contains(key)) return;
    send_.ProducerStarted(key);
    ComputeChunk(key);
  });
}

void Node::ComputeChunk(RequestKey key) {
  const auto found = prefilling_.find(key);
  if (found == prefilling_.end() || found->second.given) return;
  Prefilling& prefill = found->second;
  const std::int64_t left = prefill.order.prompt_tokens - prefill.computed;
  const std::int64_t tokens = std::min(left, world_.Between(1, 6));
  ledger_.Compute(key.request, prefill.blocks, prefill.computed, tokens);
  for (int layer = 0; layer < BlockLedger::kLayers; ++layer)
    send_.LayerReady(key, layer, prefill.computed, tokens);
  prefill.computed += tokens;
  if (prefill.computed < prefill.order.prompt_tokens) {
    world_.After(world_.Delay(100, 20'000), process_, [this, key] { ComputeChunk(key); });
    return;
  }
  around_.to_router(process_, {.key = key, .index = 0, .token = TokenOf(key.request, 0)});
  send_.Commit(key, {.first_token = TokenOf(key.request, 0), .prompt_tokens = prefill.order.prompt_tokens});
}

void Node::Reserve(const Order& order) {
  const RequestKey key = order.key;
  // The whole answer's.
  const auto blocks = Take(ledger_.BlocksFor(order.prompt_tokens + order.tokens), key);
  if (!blocks) return Tell(key, true);
  const bool moves = order.positions_max > 0;
  const std::int64_t received = moves ? order.positions_max : order.prompt_tokens;
  transport_.ExpectWindowOf(key);
  const absl::Status reserved = receive_.Receive(
      {.key = key,
       .sender = IdOf(order.peer),
       .sender_incarnation = order.peer_incarnation,
       .prompt_tokens = received,
       .blocks = {blocks->begin(),
                  blocks->begin() + static_cast<std::ptrdiff_t>(ledger_.BlocksFor(received))},
       .least_tokens = moves ? order.prompt_tokens : 0},
      {.on_committed =
           [this, key, moves](const kvtransfer::CommitInfo& info) {
             if (moves) return Arrived(key, info);
             if (info.first_token != TokenOf(key.request, 0))
               world_.Violate("a commit with another first token");
             Committed(key);
           },
       .on_failed = [this, key](kvtransfer::TransferEnd, const absl::Status& why) { Failed(key, why); },
       .on_released = [this, key] { Released(key); }});
  if (!reserved.ok()) {
    world_.Log("worker {}: no reservation of {}.{}: {}", process_, key.request.value, key.attempt.value,
               Message(reserved));
    ledger_.Give(*blocks, key);
    return Tell(key, true);
  }
  decoding_[key] = {.order = order, .blocks = *blocks};
}

void Node::Committed(RequestKey key) {
  Decoding& decoding = decoding_.at(key);
  if (++decoding.reports != 1) world_.Violate(fmt::format("worker {}: a transfer ended twice", process_));
  world_.Log("worker {}: {}.{} is committed", process_, key.request.value, key.attempt.value);
  around_.to_router(process_, {.key = key, .index = 0, .token = TokenOf(key.request, 0)});
  decoding.next = 1;
  decoding.cancelled ? EndDecoding(key) : DecodeStep(key);
}

void Node::Arrived(RequestKey key, const kvtransfer::CommitInfo& info) {
  Decoding& decoding = decoding_.at(key);
  if (++decoding.reports != 1) world_.Violate(fmt::format("worker {}: a transfer ended twice", process_));
  world_.Log("worker {}: {}.{} has arrived with {} tokens", process_, key.request.value, key.attempt.value,
             info.answer.size());
  decoding.next = static_cast<int>(info.answer.size());
  for (int index = 0; index < decoding.next; ++index) {
    if (info.answer[static_cast<std::size_t>(index)] != TokenOf(key.request, index))
      world_.Violate("an answer arrived with another token");
  }
  if (info.prompt_tokens != decoding.order.prompt_tokens + decoding.next - 1)
    world_.Violate("an answer arrived with another number of positions");
  for (int index = std::min(decoding.order.known, decoding.next - 1); index < decoding.next; ++index)
    around_.to_router(process_, {.key = key, .index = index, .token = TokenOf(key.request, index)});
  decoding.cancelled ? EndDecoding(key) : DecodeStep(key);
}

void Node::DecodeStep(RequestKey key) {
  const auto found = decoding_.find(key);
  if (found == decoding_.end() || found->second.over) return;
  Decoding& decoding = found->second;
  decoding.steps = false;
  if (decoding.paused) return;
  const std::int64_t positions = decoding.order.prompt_tokens + decoding.next - 1;
  if (!ledger_.Holds(key.request, decoding.blocks, positions)) {
    return world_.Violate(fmt::format("worker {}: request {}.{} decodes from wrong bytes before token {}",
                                      process_, key.request.value, key.attempt.value, decoding.next));
  }
  if (decoding.next >= decoding.order.tokens)
    return decoding.order.keep && decoding.released && !decoding.move ? Keep(key) : EndDecoding(key);
  around_.to_router(process_,
                    {.key = key, .index = decoding.next, .token = TokenOf(key.request, decoding.next)});
  ledger_.Compute(key.request, decoding.blocks, positions, 1);
  ++decoding.next;
  decoding.steps = true;
  world_.After(world_.Delay(1'000, 30'000), process_, [this, key] { DecodeStep(key); });
}

void Node::Move(const Order& order) {
  const RequestKey key = order.key;
  const RequestKey target{.request = key.request, .attempt = order.target};
  const auto found = decoding_.find(key);
  const bool can = found != decoding_.end() && found->second.reports == 1 && !found->second.failed &&
                   !found->second.over && !found->second.cancelled && !found->second.move;
  const absl::Status sent =
      !can ? Error(kNotFound, "the answer is not here")
           : send_.Send(
                 {.key = target,
                  .receiver = IdOf(order.peer),
                  .receiver_incarnation = order.peer_incarnation,
                  .prompt_tokens = order.positions_max,
                  .blocks = {},
                  .grows = true},
                 {.on_granted = [this, key] { MoveRound(key, /*last=*/false); },
                  .on_idle = [this, key] { MoveIdle(key); },
                  .on_ended =
                      [this, key, target](kvtransfer::TransferEnd end, const absl::Status& why, const auto&) {
                        world_.Log("worker {}: move {}.{} ended: {} {}", process_, target.request.value,
                                   target.attempt.value, kvtransfer::Name(end), Message(why));
                        MoveEnded(key, target, end);
                      }});
  if (!sent.ok()) return around_.to_router(process_, {.key = target, .move_failed = true});
  found->second.move = Moving{.key = target, .positions_max = order.positions_max};
  send_.ProducerStarted(target);
}

void Node::MoveStop(RequestKey target) {
  send_.Abort(target);
}

/// What the answer has now; at the last, with COMMIT.
void Node::MoveRound(RequestKey key, bool last) {
  const auto found = decoding_.find(key);
  if (found == decoding_.end() || !found->second.move || found->second.given) return;
  Decoding& decoding = found->second;
  Moving& move = *decoding.move;
  std::int64_t positions = decoding.order.prompt_tokens + decoding.next - 1;
  if (network_.mutation == Mutation::kUnfinishedBlock && !last)
    positions = static_cast<std::int64_t>(ledger_.BlocksFor(positions)) * ledger_.Layout().block_tokens;
  if (positions > move.positions_max || (last && positions < move.sent)) return send_.Abort(move.key);
  ++move.rounds;
  const auto block = [this](std::int64_t tokens) {
    return static_cast<std::ptrdiff_t>(ledger_.BlocksFor(tokens));
  };
  if (positions > move.sent) {
    const std::vector<BlockIndex> more(decoding.blocks.begin() + block(move.sent),
                                       decoding.blocks.begin() + block(positions));
    send_.PositionsReady(move.key, move.sent, positions - move.sent, more);
    move.sent = positions;
  }
  if (!last) return;
  move.committed = true;
  std::vector<TokenId> answer;
  for (int index = 0; index < decoding.next; ++index) answer.push_back(TokenOf(key.request, index));
  send_.Commit(move.key, {.first_token = answer.back(), .prompt_tokens = positions, .answer = answer});
}

void Node::MoveIdle(RequestKey key) {
  const auto found = decoding_.find(key);
  if (found == decoding_.end() || !found->second.move || found->second.over || found->second.paused) return;
  const std::int64_t positions = found->second.order.prompt_tokens + found->second.next - 1;
  if (positions > found->second.move->sent && found->second.move->rounds < 3 && world_.Chance(600))
    return MoveRound(key, /*last=*/false);
  found->second.paused = true;
  world_.After(world_.Delay(1, 5'000), process_, [this, key] { MoveRound(key, /*last=*/true); });
}

/// Moved, it is over here; else it goes on, unless it has ended meanwhile.
void Node::MoveEnded(RequestKey key, RequestKey target, kvtransfer::TransferEnd end) {
  const auto found = decoding_.find(key);
  if (found == decoding_.end() || !found->second.move || found->second.move->key != target)
    return world_.Violate(fmt::format("worker {}: a move ended twice", process_));
  Decoding& decoding = found->second;
  decoding.move.reset();
  if (decoding.over) return GiveUpDecoding(key);
  if (end == kvtransfer::TransferEnd::kAcked) {
    decoding.over = true;
    ledger_.Give(decoding.blocks, key);
    const bool released = decoding.released;
    if (!released) world_.Violate("an answer moved before its own transfer was released");
    decoding_.erase(found);
    return around_.to_router(process_, {.key = key, .released = true, .moved = true});
  }
  around_.to_router(process_, {.key = target, .move_failed = true});
  decoding.paused = false;
  if (!decoding.steps) DecodeStep(key);
}

/// The sequence owns committed blocks: it gives them back when it ends, released or not.
void Node::EndDecoding(RequestKey key) {
  Decoding& decoding = decoding_.at(key);
  decoding.over = true;
  const bool unpinned = network_.mutation == Mutation::kUnpinned;
  if (decoding.move && !unpinned) return send_.Abort(decoding.move->key);  // its blocks are still read
  if (decoding.move) send_.Abort(decoding.move->key);
  GiveUpDecoding(key);
}

void Node::GiveUpDecoding(RequestKey key) {
  Decoding& decoding = decoding_.at(key);
  if (!decoding.given) ledger_.Give(decoding.blocks, key);
  decoding.given = true;
  if (!decoding.released || decoding.move) return;
  decoding_.erase(key);
  Tell(key, false);
}

void Node::Failed(RequestKey key, const absl::Status& why) {
  Decoding& decoding = decoding_.at(key);
  if (++decoding.reports != 1) world_.Violate(fmt::format("worker {}: a transfer ended twice", process_));
  world_.Log("worker {}: {}.{} will not commit: {}", process_, key.request.value, key.attempt.value,
             Message(why));
  decoding.failed = true;
  if (network_.mutation == Mutation::kNoQuarantine) {
    ledger_.Give(decoding.blocks, key);
    decoding.given = true;
  }
}

void Node::Released(RequestKey key) {
  const auto found = decoding_.find(key);
  if (found == decoding_.end() || found->second.released || found->second.reports != 1) {
    return world_.Violate(
        fmt::format("worker {}: a transfer was released twice, or before its end", process_));
  }
  found->second.released = true;
  if (!found->second.failed && !found->second.over) return;
  if (found->second.move) return;
  if (!found->second.given) ledger_.Give(found->second.blocks, key);
  const bool failed = found->second.failed;
  decoding_.erase(found);
  Tell(key, failed);
}

void Node::Cancel(RequestKey key) {
  world_.Log("worker {}: cancels {}.{}", process_, key.request.value, key.attempt.value);
  if (const auto found = prefilling_.find(key);
      found != prefilling_.end() && network_.mutation == Mutation::kUnpinned && !found->second.given) {
    ledger_.Give(found->second.blocks, key);
    found->second.given = true;
  }
  send_.Abort(key);
  receive_.Abort(key);
  DropKept(key);
  const auto found = decoding_.find(key);
  if (found != decoding_.end()) found->second.cancelled = true;
  if (found != decoding_.end() && found->second.reports == 1 && !found->second.failed &&
      !found->second.over) {
    EndDecoding(key);
  }
}

void Node::CancelAll() {
  std::vector<RequestKey> keys;
  for (const auto& [key, prefilling] : prefilling_) keys.push_back(key);
  for (const auto& [key, decoding] : decoding_) keys.push_back(key);
  for (const auto& [key, kept] : kept_) keys.push_back(key);
  for (const auto& [key, taken] : taken_) keys.push_back(key);
  for (const RequestKey key : keys) Cancel(key);
}

std::string Node::Leftover() const {
  std::string left;
  for (const auto& [key, prefilling] : prefilling_) left += fmt::format(" prefill of {}", key.request.value);
  for (const auto& [key, decoding] : decoding_) left += fmt::format(" decode of {}", key.request.value);
  for (const auto& [key, kept] : kept_) left += fmt::format(" kept answer of {}", key.request.value);
  for (const auto& [key, taken] : taken_) left += fmt::format(" answer of {} taken back", key.request.value);
  if (send_.Live() + receive_.Live() > 0)
    left += fmt::format(" {} transfers", send_.Live() + receive_.Live());
  if (left.empty() && !ledger_.AllFree()) left = " blocks that nobody owns";
  return left;
}

}  // namespace baton::scenarios
