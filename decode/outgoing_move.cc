#include "decode/outgoing_move.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "engine/kv/kv_arena.h"

namespace baton::decode {

OutgoingMove::OutgoingMove(const engine::ServiceContext& context, const engine::AnswerMemory& memory,
                           const Source& source, const Target& target)
    : context_(context),
      memory_(memory),
      source_(source),
      target_(target),
      rounds_({}, context.block_tokens, context.answers.block_bytes, target.positions_max) {}

absl::Status OutgoingMove::Begin(std::function<void(const Result&)> done) {
  BATON_RETURN_IF_ERROR(context_.handoff.Send(
      {.key = target_.key,
       .receiver = target_.worker,
       .receiver_incarnation = target_.incarnation,
       .prompt_tokens = target_.positions_max,
       .grows = true},
      {.on_granted = [this] { OnGranted(); },
       .on_idle = [this] { OnIdle(); },
       .on_ended = [this](kvtransfer::TransferEnd end, const absl::Status& status,
                          const kvtransfer::TransferStats&) { OnEnded(end, status); }}));
  context_.handoff.ProducerStarted(target_.key);
  done_ = std::move(done);
  return absl::OkStatus();
}

void OutgoingMove::OnGranted() {
  if (state_ != State::kWaiting) return;
  state_ = State::kCopying;
  if (SendRound()) rounds_.Sent(ready_);
}

/// Gives what the answer has now to the transfer, and holds its blocks; false where that ends the move.
bool OutgoingMove::SendRound() {
  const std::int64_t positions = Positions();
  const engine::BlockTable blocks = memory_.BlocksOf(source_.sequence);
  const std::int64_t needed = engine::BlocksFor(positions, context_.block_tokens);
  if (positions > target_.positions_max || std::ssize(blocks) < needed) {
    Abort(blocks.empty() ? "it made room for another answer" : "it outgrew what was reserved for it");
    return false;
  }
  if (positions == ready_) return true;
  const engine::BlockTable more(blocks.begin() + std::ssize(held_), blocks.begin() + needed);
  context_.pool.Retain(more);
  held_.insert(held_.end(), more.begin(), more.end());
  context_.handoff.PositionsReady(target_.key, ready_, positions - ready_, more);
  ready_ = positions;
  return true;
}

void OutgoingMove::OnIdle() {
  if (state_ != State::kCopying) return;
  if (rounds_.MustPause(Positions(), Speed())) return Pause();
  if (SendRound()) rounds_.Sent(ready_);
}

void OutgoingMove::OnToken() {
  if (state_ == State::kCopying && rounds_.NearEnd(Positions())) Pause();
}

void OutgoingMove::Pause() {
  state_ = State::kPausing;
  pause_asked_ = true;
  context_.executor.Pause(source_.sequence);
}

void OutgoingMove::OnPaused() {
  if (state_ != State::kPausing) return;
  paused_at_ = context_.loop.Now();
  if (!SendRound()) return;
  state_ = State::kCommitted;
  context_.handoff.Commit(target_.key, {.first_token = source_.answer.back(),
                                        .prompt_tokens = ready_,
                                        .answer = source_.answer,
                                        .computed_at = paused_at_});
}

void OutgoingMove::Abort(std::string why) {
  if (state_ == State::kAborting) return;
  state_ = State::kAborting;
  why_ = std::move(why);
  context_.handoff.AbortSend(target_.key);
}

void OutgoingMove::OnEnded(kvtransfer::TransferEnd end, const absl::Status& status) {
  context_.pool.Release(held_);
  Result result{.moved = end == kvtransfer::TransferEnd::kAcked,
                .why = why_.empty() ? Message(status) : why_,
                .pause = context_.loop.Now() - paused_at_,
                .rounds = rounds_.Rounds()};
  // Where it has ended meanwhile this is nothing.
  if (!result.moved && pause_asked_) context_.executor.Continue(source_.sequence);
  const auto done = std::move(done_);  // it destroys this
  done(result);
}

double OutgoingMove::Speed() const {
  for (const kvtransfer::PeerStatus& peer : context_.handoff.Peers()) {
    if (peer.id == target_.worker) return peer.bytes_per_second;
  }
  return 0;
}

}  // namespace baton::decode
