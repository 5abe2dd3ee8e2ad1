#include "kvtransfer/receiver_machine.h"

#include <algorithm>

#include "common/base/error.h"

namespace baton::kvtransfer {

using Kind = ReceiverMachine::Action::Kind;

ReceiverMachine::ReceiverMachine(const Limits& limits, TimePoint now, int layers,
                                 const std::vector<BlockIndex>& target)
    : limits_(limits),
      target_(target),
      filled_(static_cast<std::size_t>(layers) * target.size()),
      missing_(static_cast<std::int64_t>(filled_.size())),
      last_sign_(now) {
  sorted_.reserve(target.size());
  for (const BlockIndex block : target) sorted_.push_back(block.value);
  std::ranges::sort(sorted_);
}

void ReceiverMachine::Renew(TimePoint now) {
  last_sign_ = std::max(last_sign_, now);
}

void ReceiverMachine::Mark(const DataRun& run) {
  const auto begin = std::ranges::lower_bound(sorted_, run.blocks.first.value);
  for (auto it = begin; it != sorted_.end() && *it - run.blocks.first.value < run.blocks.count; ++it) {
    const auto index =
        static_cast<std::size_t>(run.layer) * sorted_.size() + static_cast<std::size_t>(it - sorted_.begin());
    if (index >= filled_.size() || filled_[index]) continue;
    filled_[index] = true;
    --missing_;
  }
}

ReceiverMachine::Actions ReceiverMachine::Placed(TimePoint now, const std::vector<DataRun>& runs,
                                                 const absl::Status& status) {
  Renew(now);
  if (!Live()) return {};
  if (!status.ok()) return Abort(now, TransferEnd::kFailed, status, /*tell_peer=*/true);
  state_ = State::kReceiving;
  if (!deadline_) deadline_ = now + limits_.transfer_deadline;
  const std::int64_t missing_before = missing_;
  for (const DataRun& run : runs) Mark(run);
  if (missing_ < missing_before) ++messages_;
  return CommitIfComplete(now);
}

bool ReceiverMachine::Forgo(std::size_t first) {
  for (std::size_t i = first; i < target_.size(); ++i) {
    const auto at = std::ranges::lower_bound(sorted_, target_[i].value) - sorted_.begin();
    for (auto index = static_cast<std::size_t>(at); index < filled_.size(); index += sorted_.size()) {
      if (filled_[index]) return false;
      filled_[index] = true;
      --missing_;
    }
  }
  return true;
}

ReceiverMachine::Actions ReceiverMachine::Committed(TimePoint now, const CommitInfo& info,
                                                    std::uint64_t messages, std::size_t blocks) {
  Renew(now);
  if (state_ == State::kCommitted || state_ == State::kFree) {
    // A repeated COMMIT: the acknowledgement was lost.
    return commit_ ? Actions{{.kind = Kind::kSendAck, .status = {}}} : Actions{};
  }
  if (!Live()) return {};
  if (!commit_ && !Forgo(blocks)) {
    return Abort(now, TransferEnd::kFailed,
                 Error(kDataLoss, "COMMIT counts {} blocks, data of others has come", blocks),
                 /*tell_peer=*/true);
  }
  commit_ = info;
  messages_expected_ = messages;
  return CommitIfComplete(now);
}

ReceiverMachine::Actions ReceiverMachine::CommitIfComplete(TimePoint now) {
  if (!commit_ || missing_ > 0) return {};
  if (messages_ != messages_expected_) {
    return Abort(now, TransferEnd::kFailed,
                 Error(kDataLoss, "COMMIT counts {} messages, {} have come", messages_expected_, messages_),
                 /*tell_peer=*/true);
  }
  state_ = State::kCommitted;
  return {{.kind = Kind::kCloseWindow, .status = {}},
          {.kind = Kind::kSendAck, .status = {}},
          {.kind = Kind::kReportCommitted, .status = {}}};
}

ReceiverMachine::Actions ReceiverMachine::Abort(TimePoint now, TransferEnd end, const absl::Status& status,
                                                bool tell_peer) {
  if (!Live()) return {};
  state_ = State::kAborting;
  commit_.reset();
  drain_until_ = now + limits_.drain_deadline;
  Actions actions;
  if (tell_peer) actions.push_back({.kind = Kind::kSendAbort, .end = end, .status = status});
  actions.push_back({.kind = Kind::kReportFailed, .end = end, .status = status});
  actions.push_back({.kind = Kind::kCloseWindow, .end = end, .status = {}});
  return actions;
}

ReceiverMachine::Actions ReceiverMachine::Drained() {
  if (state_ != State::kAborting && state_ != State::kCommitted) return {};
  state_ = State::kFree;
  return {{.kind = Kind::kReportReleased, .status = {}}};
}

ReceiverMachine::Actions ReceiverMachine::Tick(TimePoint now) {
  if (Live() && now - last_sign_ >= limits_.lease) {
    return Abort(
        now, TransferEnd::kExpired,
        Error(kDeadlineExceeded, "no sign of the sender for {:.1f} s, the lease", Seconds(limits_.lease)),
        /*tell_peer=*/true);
  }
  if (Live() && deadline_ && now >= *deadline_) {
    return Abort(now, TransferEnd::kExpired,
                 Error(kDeadlineExceeded, "the transfer did not complete within {:.1f} s of its first data",
                       Seconds(limits_.transfer_deadline)),
                 /*tell_peer=*/true);
  }
  if (state_ == State::kAborting && !force_closed_ && now >= *drain_until_) {
    force_closed_ = true;
    return {{.kind = Kind::kForceClosePeer, .status = {}}};
  }
  return {};
}

}  // namespace baton::kvtransfer
