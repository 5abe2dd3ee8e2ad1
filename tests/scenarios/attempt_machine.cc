#include "tests/scenarios/attempt_machine.h"

namespace baton::scenarios {

using Kind = AttemptMachine::Action::Kind;

AttemptMachine::AttemptMachine(const Limits& limits, TimePoint now, int tokens)
    : limits_(limits), deadline_(now + limits.deadline), tokens_(tokens) {}

AttemptMachine::Actions AttemptMachine::Begin() {
  attempt_ = Attempt(attempt_.value + 1);
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
  if (finished_ || attempt != attempt_ || (worker != prefill_ && worker != decode_)) return {};
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
    if (tokens_ == 1) CancelAll(actions);
    Finish(actions, "");
  }
  return actions;
}

AttemptMachine::Actions AttemptMachine::Released(int worker, Attempt attempt, bool failed) {
  holders_.erase({worker, attempt});
  Actions actions;
  if (finished_ || attempt != attempt_) return actions;
  if (failed) Fail(actions, "a worker failed");
  return actions;
}

AttemptMachine::Actions AttemptMachine::WorkerLost(int worker) {
  std::erase_if(holders_, [&](const auto& entry) { return entry.first.worker == worker; });
  Actions actions;
  if (finished_ || waiting_) return actions;
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
  early_.clear();
  if (!delivered_.empty() || attempt_.value >= limits_.attempts_max) return Finish(actions, why);
  for (Action& action : Begin()) actions.push_back(std::move(action));
}

}  // namespace baton::scenarios
