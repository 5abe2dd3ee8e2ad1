#include "kvtransfer/sender_machine.h"

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::kvtransfer {

using Kind = SenderMachine::Action::Kind;

SenderMachine::Actions SenderMachine::Granted() {
  if (state_ != State::kWaiting) return {};
  state_ = State::kGranted;
  return {{.kind = Kind::kReportGranted, .status = {}}};
}

void SenderMachine::Started(TimePoint now) {
  if (Live() && !deadline_) deadline_ = now + limits_.transfer_deadline;
}

void SenderMachine::Posted() {
  BATON_CHECK(state_ == State::kGranted || state_ == State::kSending, "a send was posted without a grant");
  state_ = State::kSending;
  ++outstanding_;
}

SenderMachine::Actions SenderMachine::Sent(TimePoint now, const absl::Status& status) {
  BATON_CHECK(outstanding_ > 0);
  --outstanding_;
  if (!status.ok() && Live()) return Abort(now, TransferEnd::kFailed, status, /*tell_peer=*/true);
  Actions actions;
  EndIfDrained(actions);
  return actions;
}

SenderMachine::Actions SenderMachine::AllPosted() {
  if (state_ != State::kGranted && state_ != State::kSending) return {};
  state_ = State::kSent;
  return {{.kind = Kind::kSendCommit, .status = {}}};
}

SenderMachine::Actions SenderMachine::Acked(TimePoint now) {
  if (state_ != State::kSent) return {};  // a repeated or late acknowledgement
  state_ = State::kAcked;
  return Close(now, TransferEnd::kAcked, absl::OkStatus());
}

SenderMachine::Actions SenderMachine::Abort(TimePoint now, TransferEnd end, const absl::Status& status,
                                            bool tell_peer) {
  if (!Live()) return {};
  state_ = State::kAborting;
  Actions actions;
  if (outstanding_ > 0) actions.push_back({.kind = Kind::kCancelSends, .end = end, .status = {}});
  if (tell_peer) actions.push_back({.kind = Kind::kSendAbort, .end = end, .status = status});
  for (Action& action : Close(now, end, status)) actions.push_back(std::move(action));
  return actions;
}

SenderMachine::Actions SenderMachine::Close(TimePoint now, TransferEnd end, const absl::Status& status) {
  end_ = end;
  status_ = status;
  drain_until_ = now + limits_.drain_deadline;
  Actions actions;
  EndIfDrained(actions);
  return actions;
}

void SenderMachine::EndIfDrained(Actions& actions) {
  if ((state_ != State::kAborting && state_ != State::kAcked) || outstanding_ > 0) return;
  state_ = State::kEnded;
  actions.push_back({.kind = Kind::kReportEnded, .end = end_, .status = status_});
}

SenderMachine::Actions SenderMachine::Tick(TimePoint now) {
  if (Live() && deadline_ && now >= *deadline_) {
    return Abort(
        now, TransferEnd::kExpired,
        Error(kDeadlineExceeded, "the transfer was not acknowledged within {:.1f} s of the prefill's start",
              Seconds(limits_.transfer_deadline)),
        /*tell_peer=*/true);
  }
  const bool draining = state_ == State::kAborting || state_ == State::kAcked;
  if (draining && !force_closed_ && now >= *drain_until_) {
    force_closed_ = true;
    return {{.kind = Kind::kForceClosePeer, .end = end_, .status = status_}};
  }
  return {};
}

}  // namespace baton::kvtransfer
