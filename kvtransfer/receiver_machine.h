#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <absl/status/status.h>

#include "common/base/clock.h"
#include "kvtransfer/data_header.h"
#include "kvtransfer/handoff.h"

/// The receiving side of one transfer as a pure machine: events in, actions out; no clock, no I/O.
///   RESERVED -> RECEIVING -> COMMITTED -> FREE
///          \-> ABORTING (quarantine: waits until no write can land) -> FREE
/// Reports kReportCommitted or kReportFailed once, then kReportReleased once.
namespace baton::kvtransfer {

class ReceiverMachine {
 public:
  enum class State { kReserved, kReceiving, kCommitted, kAborting, kFree };

  struct Action {
    enum class Kind {
      kCloseWindow,
      kSendAck,
      kSendAbort,
      kForceClosePeer,
      kReportCommitted,
      kReportFailed,
      kReportReleased,  // last
    };
    Kind kind = Kind::kReportReleased;
    TransferEnd end = TransferEnd::kAcked;  // of kSendAbort and kReportFailed
    absl::Status status;
  };
  using Actions = std::vector<Action>;

  struct Limits {
    Duration lease{};              // without a sign of the sender
    Duration transfer_deadline{};  // from the first data
    Duration drain_deadline{};
  };

  /// `target` holds the granted blocks in order of position; every one must be filled in each of `layers`
  /// layers, all ranks', unless COMMIT says that fewer are used.
  ReceiverMachine(const Limits& limits, TimePoint now, int layers, const std::vector<BlockIndex>& target);

  /// The sender is alive and still holds this transfer.
  void Renew(TimePoint now);
  /// Data has been placed (status OK), or it failed. Repeated data counts once.
  [[nodiscard]] Actions Placed(TimePoint now, const std::vector<DataRun>& runs, const absl::Status& status);
  /// The sender says that all has been sent, in so many messages. May overtake the last data. Another number
  /// of messages than have come when nothing is missing fails the transfer. Only the first `blocks` are used:
  /// data in another one fails it as well.
  [[nodiscard]] Actions Committed(TimePoint now, const CommitInfo& info, std::uint64_t messages,
                                  std::size_t blocks);
  [[nodiscard]] Actions Abort(TimePoint now, TransferEnd end, const absl::Status& status, bool tell_peer);
  /// The window is closed and no write can land any more.
  [[nodiscard]] Actions Drained();
  [[nodiscard]] Actions Tick(TimePoint now);

  [[nodiscard]] State GetState() const { return state_; }
  [[nodiscard]] bool Live() const { return state_ == State::kReserved || state_ == State::kReceiving; }
  [[nodiscard]] const std::optional<CommitInfo>& Commit() const { return commit_; }
  /// That are in place and verified; repeated ones count once.
  [[nodiscard]] std::uint64_t Messages() const { return messages_; }

 private:
  void Mark(const DataRun& run);
  /// Nothing has to come, or may have, in granted blocks from `first` on; false where something has.
  [[nodiscard]] bool Forgo(std::size_t first);
  Actions CommitIfComplete(TimePoint now);

  Limits limits_;
  State state_ = State::kReserved;
  std::vector<BlockIndex> target_;     // in order of position
  std::vector<std::uint32_t> sorted_;  // granted blocks, ascending
  std::vector<bool> filled_;           // [layer][index into sorted_]
  std::int64_t missing_ = 0;
  std::optional<CommitInfo> commit_;
  std::uint64_t messages_ = 0;           // that have filled a block
  std::uint64_t messages_expected_ = 0;  // of commit_
  TimePoint last_sign_;
  std::optional<TimePoint> deadline_;
  std::optional<TimePoint> drain_until_;
  bool force_closed_ = false;
};

}  // namespace baton::kvtransfer
