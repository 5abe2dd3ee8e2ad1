#include "decode/kept_answers.h"

#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/log.h"
#include "engine/kv/kv_arena.h"

namespace baton::decode {
namespace {

/// A transfer that takes longer is not worth the memory that it holds.
constexpr Duration kSendLimit = std::chrono::seconds(5);

}  // namespace

KeptAnswers::KeptAnswers(const engine::ServiceContext& context, std::function<void(RequestKey)> gone)
    : context_(context), gone_(std::move(gone)) {}

void KeptAnswers::Keep(RequestKey key, engine::BlockTable blocks, Duration lease) {
  context_.pool.Retain(blocks);
  Kept& kept = kept_[key];
  kept.blocks = std::move(blocks);
  kept.lease = context_.loop.After(lease, [this, key] { Over(key); });
}

void KeptAnswers::Send(RequestKey key, const Target& target) {
  const auto found = kept_.find(key);
  if (found != kept_.end() && found->second.sends == target.key) return;  // repeated
  const absl::Status begun = found == kept_.end() ? Error(kNotFound, "it is not kept (any more)")
                                                  : Begin(key, found->second, target);
  if (begun.ok()) return;
  LogDebug("give_back_refused", {{"request", target.key}, {"why", begun}});
  context_.handoff.AbortSend(target.key);  // the grant, which may be here or on its way
}

absl::Status KeptAnswers::Begin(RequestKey key, Kept& kept, const Target& target) {
  if (kept.sends != RequestKey()) return Error(kFailedPrecondition, "it goes to another worker");
  const std::int64_t held = std::ssize(kept.blocks) * context_.block_tokens;
  if (target.first < 0 || target.first >= target.positions || target.positions > held ||
      target.first % context_.block_tokens != 0) {
    return Error(kInvalidArgument, "positions {} to {} of {}", target.first, target.positions, held);
  }
  const std::int64_t tokens = target.positions - target.first;
  BATON_RETURN_IF_ERROR(context_.handoff.Send(
      {.key = target.key,
       .receiver = target.worker,
       .receiver_incarnation = target.incarnation,
       .prompt_tokens = tokens,
       .blocks = {kept.blocks.begin() + target.first / context_.block_tokens,
                  kept.blocks.begin() + engine::BlocksFor(target.positions, context_.block_tokens)}},
      {.on_granted = nullptr,
       .on_ended = [this, key](kvtransfer::TransferEnd, const absl::Status&,
                               const kvtransfer::TransferStats&) { Over(key); }}));
  kept.sends = target.key;
  kept.lease = context_.loop.After(kSendLimit, [this, key] { Drop(key); });
  context_.handoff.ProducerStarted(target.key);
  context_.handoff.PositionsReady(target.key, 0, tokens, {});
  context_.handoff.Commit(target.key, {.prompt_tokens = tokens});
  return absl::OkStatus();
}

void KeptAnswers::Drop(RequestKey key) {
  const auto found = kept_.find(key);
  if (found == kept_.end()) return;
  Kept& kept = found->second;
  if (kept.sends != RequestKey()) return context_.handoff.AbortSend(kept.sends);
  kept.lease = context_.loop.After(Duration{}, [this, key] { Over(key); });
}

void KeptAnswers::DropAll() {
  std::vector<RequestKey> keys;
  for (const auto& [key, kept] : kept_) keys.push_back(key);
  for (const RequestKey key : keys) Drop(key);
}

void KeptAnswers::Over(RequestKey key) {
  const auto node = kept_.extract(key);
  if (node.empty()) return;
  context_.pool.Release(node.mapped().blocks);
  gone_(key);
}

}  // namespace baton::decode
