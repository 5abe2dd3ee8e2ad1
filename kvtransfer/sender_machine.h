#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <absl/status/status.h>

#include "common/base/clock.h"
#include "kvtransfer/handoff.h"

/// The sending side of one transfer as a pure machine: events in, actions out; no clock, no I/O.
///   WAITING -> GRANTED -> SENDING -> SENT -> ACKED -> ENDED
///        \-> ABORTING (drains what is posted) -> ENDED
/// It ends exactly once, only when no posted send is outstanding: until then the source blocks are pinned.
namespace baton::kvtransfer {

class SenderMachine {
 public:
  enum class State { kWaiting, kGranted, kSending, kSent, kAcked, kAborting, kEnded };

  struct Action {
    enum class Kind {
      kReportGranted,
      kSendCommit,
      kCancelSends,     // those that wait inside the transport
      kSendAbort,       // tell the peer
      kForceClosePeer,  // the drain took too long: closing ends every send of that peer
      kReportEnded,     // last
    };
    Kind kind = Kind::kReportEnded;
    TransferEnd end = TransferEnd::kAcked;  // of kSendAbort and kReportEnded
    absl::Status status;
  };
  using Actions = std::vector<Action>;

  struct Limits {
    Duration transfer_deadline{};  // from Started to the acknowledgement
    Duration drain_deadline{};     // of outstanding sends, once it is to end
  };

  explicit SenderMachine(const Limits& limits) : limits_(limits) {}

  /// The grant has come. A second one is ignored.
  [[nodiscard]] Actions Granted();
  /// The producer has begun; the deadline runs from here.
  void Started(TimePoint now);
  /// A message was handed to the transport.
  void Posted();
  /// One of them is no longer read.
  [[nodiscard]] Actions Sent(TimePoint now, const absl::Status& status);
  /// All KV has been handed to the transport and the caller has committed.
  [[nodiscard]] Actions AllPosted();
  [[nodiscard]] Actions Acked(TimePoint now);
  /// The caller gives up (kAborted), the peer does (kAborted, kFailed; not told back), or something failed.
  [[nodiscard]] Actions Abort(TimePoint now, TransferEnd end, const absl::Status& status, bool tell_peer);
  [[nodiscard]] Actions Tick(TimePoint now);

  [[nodiscard]] State GetState() const { return state_; }
  /// Messages that the transport still reads.
  [[nodiscard]] std::int64_t Outstanding() const { return outstanding_; }
  [[nodiscard]] bool Live() const { return state_ < State::kAcked; }

 private:
  Actions Close(TimePoint now, TransferEnd end, const absl::Status& status);
  void EndIfDrained(Actions& actions);

  Limits limits_;
  State state_ = State::kWaiting;
  std::int64_t outstanding_ = 0;
  std::optional<TimePoint> deadline_;
  std::optional<TimePoint> drain_until_;
  bool force_closed_ = false;
  TransferEnd end_ = TransferEnd::kAcked;
  absl::Status status_;
};

}  // namespace baton::kvtransfer
