#include "common/base/error.h"
#include "tests/scenarios/node.h"

/// The return path of a simulated worker: KV of answers that have ended goes back, for the next turn.
namespace baton::scenarios {
namespace {

/// Held so long unasked, and so long while it is sent.
constexpr Duration kKeep = std::chrono::milliseconds(150);
constexpr Duration kSendLimit = std::chrono::milliseconds(1500);

}  // namespace

std::optional<std::vector<BlockIndex>> Node::Take(std::size_t count, RequestKey key) {
  if (auto blocks = ledger_.Take(count, key)) return blocks;
  std::vector<RequestKey> kept;
  for (const auto& [other, answer] : kept_) kept.push_back(other);
  for (const RequestKey other : kept) DropKept(other);
  std::vector<RequestKey> taken;
  for (const auto& [other, answer] : taken_) taken.push_back(other);
  for (const RequestKey other : taken) taken_.at(other).released ? Evict(other) : receive_.Abort(other);
  return ledger_.Take(count, key);
}

/// The answer has ended whole: its full blocks are held, and `Released` waits.
void Node::Keep(RequestKey key) {
  const Decoding decoding = std::move(decoding_.extract(key).mapped());
  const std::int64_t positions = decoding.order.prompt_tokens + decoding.next - 1;
  const auto whole = static_cast<std::ptrdiff_t>(positions / ledger_.Layout().block_tokens);
  ledger_.Give({decoding.blocks.begin() + whole, decoding.blocks.end()}, key);
  kept_[key] = {.blocks = {decoding.blocks.begin(), decoding.blocks.begin() + whole}};
  world_.Log("worker {}: keeps {}.{}", process_, key.request.value, key.attempt.value);
  world_.After(kKeep, process_, [this, key] {
    if (const auto found = kept_.find(key); found != kept_.end() && !found->second.sends) KeptOver(key);
  });
}

void Node::GiveBack(const Order& order) {
  const RequestKey key = order.key;
  const RequestKey target{.request = key.request, .attempt = order.target};
  const auto found = kept_.find(key);
  const int block_tokens = ledger_.Layout().block_tokens;
  const std::int64_t tokens = order.positions_max - order.first;
  const bool can = found != kept_.end() && !found->second.sends;
  const auto block = [&](std::int64_t positions) {
    return found->second.blocks.begin() + static_cast<std::ptrdiff_t>(positions / block_tokens);
  };
  const absl::Status sent =
      !can ? Error(kNotFound, "it is not kept (any more)")
           : send_.Send({.key = target,
                         .receiver = IdOf(order.peer),
                         .receiver_incarnation = order.peer_incarnation,
                         .prompt_tokens = tokens,
                         .blocks = {block(order.first), block(order.positions_max)}},
                        {.on_granted = [] {},
                         .on_ended = [this, key](kvtransfer::TransferEnd, const absl::Status&,
                                                 const auto&) { KeptOver(key); }});
  if (!sent.ok()) {
    world_.Log("worker {}: does not give {}.{} back: {}", process_, key.request.value, key.attempt.value,
               Message(sent));
    return send_.Abort(target);  // the grant, which may be here or on its way
  }
  found->second.sends = target;
  world_.After(kSendLimit, process_, [this, key] { DropKept(key); });
  send_.ProducerStarted(target);
  send_.PositionsReady(target, 0, tokens, {});
  send_.Commit(target, {.prompt_tokens = tokens});
}

/// Its blocks are free when the transport reads them no more.
void Node::DropKept(RequestKey key) {
  const auto found = kept_.find(key);
  if (found == kept_.end()) return;
  Kept& kept = found->second;
  if (!kept.sends) return KeptOver(key);
  if (network_.mutation == Mutation::kKeptUnpinned && !kept.given) {
    ledger_.Give(kept.blocks, key);
    kept.given = true;
  }
  send_.Abort(*kept.sends);
}

void Node::KeptOver(RequestKey key) {
  const auto node = kept_.extract(key);
  if (node.empty()) return world_.Violate(fmt::format("worker {}: a kept answer ended twice", process_));
  if (!node.mapped().given) ledger_.Give(node.mapped().blocks, key);
  Tell(key, false);
}

/// As chance will, some of it is here already.
void Node::TakeBack(const Order& order) {
  const RequestKey key = order.key;
  const std::int64_t block_tokens = ledger_.Layout().block_tokens;
  const std::int64_t positions = order.positions_max;
  const std::int64_t first = world_.Between(0, positions / block_tokens) * block_tokens;
  if (first == positions) return Tell(key, false);
  const auto blocks = ledger_.Take(ledger_.BlocksFor(positions), key);
  if (!blocks) return Tell(key, true);
  ledger_.Compute(key.request, *blocks, 0, first);
  transport_.ExpectWindowOf(key);
  const absl::Status begun = receive_.Receive(
      {.key = key,
       .sender = IdOf(order.peer),
       .sender_incarnation = order.peer_incarnation,
       .prompt_tokens = positions - first,
       .blocks = {blocks->begin() + static_cast<std::ptrdiff_t>(first / block_tokens), blocks->end()}},
      {.on_committed = [this, key](const auto&) { TakenEnded(key, false); },
       .on_failed = [this, key](auto, const auto&) { TakenEnded(key, true); },
       .on_released = [this, key] { TakenReleased(key); }});
  if (!begun.ok()) {
    ledger_.Give(*blocks, key);
    return Tell(key, true);
  }
  taken_[key] = {.blocks = *blocks, .positions = positions};
  around_.to_router(process_, {.key = key, .takes = true, .first = first});
}

void Node::TakenEnded(RequestKey key, bool failed) {
  Taken& taken = taken_.at(key);
  if (++taken.reports != 1) world_.Violate(fmt::format("worker {}: a transfer ended twice", process_));
  taken.failed = failed && network_.mutation != Mutation::kPartialReturn;
  if (taken.failed && network_.mutation == Mutation::kTakenUnfenced) {
    ledger_.Give(taken.blocks, key);
    taken.given = true;
  }
}

/// What has come whole is cached until a next turn reads it, or something else needs the memory.
void Node::TakenReleased(RequestKey key) {
  const auto found = taken_.find(key);
  if (found == taken_.end() || found->second.released || found->second.reports != 1) {
    return world_.Violate(
        fmt::format("worker {}: a transfer was released twice, or before its end", process_));
  }
  Taken& taken = found->second;
  taken.released = true;
  Tell(key, taken.failed);
  if (!taken.failed) {
    return world_.After(world_.Delay(1'000, 200'000), process_, [this, key] {
      if (taken_.contains(key)) Evict(key);
    });
  }
  if (!taken.given) ledger_.Give(taken.blocks, key);
  taken_.erase(found);
}

void Node::Evict(RequestKey key) {
  const Taken taken = std::move(taken_.extract(key).mapped());
  if (!ledger_.Holds(key.request, taken.blocks, taken.positions)) {
    world_.Violate(fmt::format("worker {}: what came back as {}.{} is not what was written", process_,
                               key.request.value, key.attempt.value));
  }
  ledger_.Give(taken.blocks, key);
}

}  // namespace baton::scenarios
