#include "prefill/taken_answers.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/cluster/wire.pb.h"
#include "engine/kv/kv_arena.h"

namespace baton::prefill {

using engine::Outcome;

TakenAnswers::TakenAnswers(const engine::ServiceContext& context, std::function<void()> gone)
    : context_(context), gone_(std::move(gone)) {}

void TakenAnswers::Take(const wire::TakeBack& order) {
  const RequestKey key{.request = RequestId(order.request()), .attempt = Attempt(order.attempt())};
  if (taken_.contains(key)) return;  // repeated
  const Outcome outcome = Begin(key, order);
  if (!taken_.contains(key)) return SendReleased(key, outcome);
  wire::Envelope envelope;
  wire::Takes& takes = *envelope.mutable_takes();
  takes.set_request(order.request());
  takes.set_attempt(order.attempt());
  takes.set_first(taken_.at(key).first);
  context_.send(envelope);
}

/// The outcome where nothing is to be received.
Outcome TakenAnswers::Begin(RequestKey key, const wire::TakeBack& order) {
  const std::vector<TokenId> tokens(order.tokens().begin(), order.tokens().end());
  const bool whole = !tokens.empty() && std::ssize(tokens) % context_.block_tokens == 0;
  const bool known = std::ranges::all_of(
      tokens, [this](TokenId token) { return token >= 0 && token < context_.model.vocabulary; });
  if (context_.prefixes == nullptr || !whole || !known) {
    return engine::Failed("internal", Error(kInvalidArgument, "{} tokens to take back, {}", tokens.size(),
                                            context_.prefixes == nullptr ? "and no prefix cache"
                                            : !whole                     ? "no whole blocks"
                                                                         : "some outside the vocabulary"));
  }
  absl::StatusOr<engine::PromptBlocks> blocks =
      context_.prefixes->AllocateToReceive(order.cache_salt(), tokens);
  if (!blocks.ok()) return engine::Failed("no_memory", blocks.status());
  Taken taken{.cache_salt = order.cache_salt(),
              .tokens = tokens,
              .blocks = std::move(blocks->blocks),
              .first = blocks->cached_tokens,
              .shared_blocks = blocks->cached_tokens / context_.block_tokens};
  if (taken.first == std::ssize(tokens)) {
    context_.pool.Release(taken.blocks);
    return {.name = "done", .code = {}, .message = {}};
  }
  const absl::Status begun = context_.handoff.Receive(
      {.key = key,
       .sender = WorkerId(order.decode_worker()),
       .sender_incarnation = Incarnation(order.decode_incarnation()),
       .prompt_tokens = std::ssize(tokens) - taken.first,
       .blocks = taken.Fresh()},
      {.on_committed = [this, key](const kvtransfer::CommitInfo&) { OnCommitted(key); },
       .on_failed = [this, key](kvtransfer::TransferEnd,
                                const absl::Status& status) { OnFailed(key, status); },
       .on_released = [this, key] { OnReleased(key); }});
  if (!begun.ok()) {
    context_.pool.Release(taken.blocks);
    return engine::FailedTransfer(begun);
  }
  taken_.emplace(key, std::move(taken));
  return {};
}

void TakenAnswers::OnCommitted(RequestKey key) {
  Taken& taken = taken_.at(key);
  context_.prefixes->Insert(taken.cache_salt, taken.tokens, taken.blocks);
  taken.outcome = {.name = "done", .code = {}, .message = {}};
}

void TakenAnswers::OnFailed(RequestKey key, const absl::Status& status) {
  Taken& taken = taken_.at(key);
  context_.pool.Quarantine(taken.Fresh());
  taken.quarantined = true;
  if (status.code() != kCancelled) taken.outcome = engine::FailedTransfer(status);
}

void TakenAnswers::OnReleased(RequestKey key) {
  const Taken taken = std::move(taken_.extract(key).mapped());
  context_.pool.Release(taken.Shared());
  if (taken.quarantined) {
    context_.pool.EndQuarantine(taken.Fresh());
  } else {
    context_.pool.Release(taken.Fresh());
  }
  SendReleased(key, taken.outcome);
  gone_();
}

void TakenAnswers::CancelUpTo(RequestKey key) {
  for (const auto& [candidate, taken] : taken_) {
    if (candidate.request == key.request && candidate.attempt <= key.attempt)
      context_.handoff.AbortReceive(candidate);  // what follows comes later
  }
}

void TakenAnswers::DropAll() {
  for (const auto& [key, taken] : taken_) context_.handoff.AbortReceive(key);
}

void TakenAnswers::SendReleased(RequestKey key, const Outcome& outcome) {
  wire::Envelope envelope;
  engine::ToWire(key, outcome, *envelope.mutable_released());
  context_.send(envelope);
}

}  // namespace baton::prefill
