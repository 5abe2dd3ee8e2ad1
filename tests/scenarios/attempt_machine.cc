#include "tests/scenarios/attempt_machine.h"

namespace baton::scenarios {

using Kind = AttemptMachine::Action::Kind;

AttemptMachine::AttemptMachine(const Limits& limits, TimePoint now, int tokens)
    : limits_(limits), deadline_(now + limits.deadline), tokens_(tokens) {}

AttemptMachine::Actions AttemptMachine::Begin() {
  attempt_ = minted_ = Attempt(minted_.value + 1);
  ++placements_;
  return {{.kind = Kind::kPlace, .attempt = attempt_}};
}

AttemptMachine::Actions AttemptMachine::Placed(int prefill, int decode) {
  waiting_ = false;
  prefill_ = prefill;
  decode_ = decode;
  decode_spoke_ = false;
  holders_[{prefill, attempt_}] = true;
  holders_[{decode, attempt_}] = true;
  return {};
}

AttemptMachine::Actions AttemptMachine::Token(int worker, Attempt attempt, int index, int token) {
  const bool source = attempt == attempt_ && (worker == prefill_ || worker == decode_);
  const bool target = move_ && attempt == move_->attempt && worker == move_->target;
  if (finished_ || (!source && !target)) return {};
  if (target) move_->there = true;
  if (worker == decode_ && index > 0) decode_spoke_ = true;
  if (index >= static_cast<int>(delivered_.size())) early_.emplace(index, token);
  Actions actions;
  while (!early_.empty() && early_.begin()->first == static_cast<int>(delivered_.size())) {
    delivered_.push_back(early_.begin()->second);
    actions.push_back({.kind = Kind::kDeliver, .attempt = attempt_, .token = early_.begin()->second});
    early_.erase(early_.begin());
  }
  if (static_cast<int>(delivered_.size()) == tokens_) {
    // An answer that ends with its first token has no hand-off: both sides are told. A longer one ends by
    // itself.
    // So is who moves: of two that may write the rest only one has ended.
    if (tokens_ == 1 || move_) CancelAll(actions);
    Finish(actions, "");
    if (tokens_ > 1 && !move_ && holders_.contains({decode_, attempt_}))
      actions.push_back({.kind = Kind::kEnded, .attempt = attempt_, .worker = decode_});
  }
  return actions;
}

AttemptMachine::Actions AttemptMachine::Released(int worker, Attempt attempt, bool failed, bool moved) {
  holders_.erase({worker, attempt});
  Actions actions;
  if (finished_ && give_back_ && attempt == give_back_->attempt) return StopGiveBack();
  if (finished_) return actions;
  if (move_ && attempt == move_->attempt) {
    actions.push_back({.kind = Kind::kMoveStop, .attempt = attempt, .worker = decode_});
    move_.reset();
    return actions;
  }
  if (attempt != attempt_) return actions;
  if (move_ && worker == decode_ && (moved || move_->there)) {
    Adopt();
  } else if (failed || moved) {
    Fail(actions, moved ? "the worker that the answer had moved to was lost" : "a worker failed");
  }
  return actions;
}

bool AttemptMachine::Movable() const {
  return !finished_ && !waiting_ && !move_ && decode_spoke_ && decode_ >= 0 && holders_.size() == 1 &&
         holders_.contains({decode_, attempt_}) && static_cast<int>(delivered_.size()) + 1 < tokens_;
}

Attempt AttemptMachine::BeginMove(int target) {
  minted_ = Attempt(minted_.value + 1);
  move_ = Moving{.attempt = minted_, .target = target};
  holders_[{target, minted_}] = true;
  return minted_;
}

AttemptMachine::Actions AttemptMachine::MoveFailed(int worker, Attempt attempt) {
  if (finished_ || !move_ || attempt != move_->attempt || worker != decode_) return {};
  // Where the target has begun all the same, the acknowledgement was lost.
  const bool there = move_->there;
  const Holder over = there ? Holder{decode_, attempt_} : Holder{move_->target, move_->attempt};
  there ? Adopt() : move_.reset();
  return {{.kind = Kind::kCancel, .attempt = over.attempt, .worker = over.worker}};
}

void AttemptMachine::Adopt() {
  attempt_ = move_->attempt;
  decode_ = move_->target;
  prefill_ = -1;
  move_.reset();
}

Attempt AttemptMachine::BeginGiveBack(int taker) {
  minted_ = Attempt(minted_.value + 1);
  give_back_ = GiveBack{.attempt = minted_, .taker = taker};
  holders_[{taker, minted_}] = true;
  return minted_;
}

AttemptMachine::Actions AttemptMachine::Takes(int worker, Attempt attempt, std::int64_t first) {
  if (!give_back_ || attempt != give_back_->attempt || worker != give_back_->taker) return {};
  if (!holders_.contains({decode_, attempt_})) return StopGiveBack();
  return {{.kind = Kind::kGiveBack, .attempt = attempt_, .worker = decode_, .first = first}};
}

/// The taker has let go, or is not to get it: nobody asks the writer any more.
AttemptMachine::Actions AttemptMachine::StopGiveBack() {
  Actions actions;
  give_back_.reset();
  CancelAll(actions);
  return actions;
}

AttemptMachine::Actions AttemptMachine::WorkerLost(int worker) {
  std::erase_if(holders_, [&](const auto& entry) { return entry.first.worker == worker; });
  Actions actions;
  if (give_back_ && (worker == decode_ || worker == give_back_->taker)) return StopGiveBack();
  if (finished_ || waiting_) return actions;
  if (move_ && worker == move_->target) {
    move_.reset();
    return actions;
  }
  if (move_ && worker == decode_ && move_->there) {
    Adopt();
    return actions;
  }
  if (worker == decode_ || (worker == prefill_ && !decode_spoke_)) Fail(actions, "a worker was lost");
  return actions;
}

AttemptMachine::Actions AttemptMachine::ClientGone() {
  Actions actions;
  if (finished_) return actions;
  CancelAll(actions);
  Finish(actions, "the client went away");
  return actions;
}

AttemptMachine::Actions AttemptMachine::Tick(TimePoint now) {
  Actions actions;
  if (finished_) return actions;
  if (now >= deadline_) {
    CancelAll(actions);
    Finish(actions, "deadline");
  } else if (waiting_) {
    waiting_ = false;
    actions.push_back({.kind = Kind::kPlace, .attempt = attempt_});
  }
  return actions;
}

void AttemptMachine::CancelAll(Actions& actions) {
  for (const auto& [holder, held] : holders_) {
    actions.push_back({.kind = Kind::kCancel, .attempt = holder.attempt, .worker = holder.worker});
  }
}

void AttemptMachine::Finish(Actions& actions, std::string error) {
  finished_ = true;
  waiting_ = false;
  actions.push_back({.kind = Kind::kFinish, .attempt = attempt_, .error = std::move(error)});
}

void AttemptMachine::Fail(Actions& actions, const std::string& why) {
  CancelAll(actions);
  prefill_ = decode_ = -1;
  move_.reset();
  early_.clear();
  if (!delivered_.empty() || placements_ >= static_cast<int>(limits_.attempts_max))
    return Finish(actions, why);
  for (Action& action : Begin()) actions.push_back(std::move(action));
}

}  // namespace baton::scenarios
