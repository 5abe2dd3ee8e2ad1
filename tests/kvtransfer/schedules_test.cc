#include <catch2/catch.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <variant>

#include "common/base/error.h"
#include "kvtransfer/receiver_machine.h"
#include "kvtransfer/sender_machine.h"

/// Both machines of a transfer under random schedules: messages are delayed, reordered, repeated and lost,
/// sends fail, a side aborts, the link dies. Whatever happens, each side ends once, in time, and nothing
/// wrong is committed.
namespace baton::kvtransfer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kLayers = 2;
constexpr std::uint32_t kBlocks = 3;
constexpr Duration kLease = seconds(10);
constexpr Duration kDeadline = seconds(30);
constexpr Duration kDrain = seconds(2);
/// Every run is over by then: deadline, drain, and the steps of the clock.
constexpr Duration kBound = kDeadline + kLease + 2 * kDrain + seconds(10);

enum class Message { kGrant, kData, kCommit, kAck, kAbortToReceiver, kAbortToSender, kPing, kSendDone };

struct InFlight {
  Message message;
  std::uint16_t layer = 0;
  std::uint32_t block = 0;
};

/// One transfer, two machines, and a world that a seed spoils.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    std::vector<BlockIndex> target;
    for (std::uint32_t block = 0; block < kBlocks; ++block) target.emplace_back(block);
    receiver_.emplace(
        ReceiverMachine::Limits{.lease = kLease, .transfer_deadline = kDeadline, .drain_deadline = kDrain},
        now_, kLayers, target);
    loss_ = Chance(3) ? Dice(30) : 0;
    repeat_ = Chance(2) ? Dice(30) : 0;
    fault_ = Chance(3) ? Dice(6) : 0;
    flight_.push_back({.message = Message::kGrant});
  }

  void Run() {
    while (now_ < TimePoint{} + kBound && !(sender_ended_ == 1 && released_ == 1 && flight_.empty())) Step();
  }

  void Check() const {
    CHECK(sender_ended_ == 1);
    CHECK(sender_.GetState() == SenderMachine::State::kEnded);
    CHECK(sends_outstanding_ == 0);
    CHECK(committed_ + failed_ == 1);
    CHECK(released_ == 1);
    CHECK(receiver_->GetState() == ReceiverMachine::State::kFree);
    if (committed_ == 1) CHECK(std::ranges::all_of(placed_, [](const auto& entry) { return entry.second; }));
    if (sender_end_ == TransferEnd::kAcked) CHECK(committed_ == 1);
    CHECK(wrong_order_ == 0);
  }
  bool Committed() const { return committed_ == 1; }

 private:
  unsigned Dice(unsigned sides) { return static_cast<unsigned>(random_() % sides); }
  bool Chance(unsigned one_in) { return Dice(one_in) == 0; }

  void Step() {
    const unsigned dice = Dice(100);
    if (dice < 10) {
      now_ += milliseconds(Dice(400));
      Apply(sender_.Tick(now_));
      Apply(receiver_->Tick(now_));
    } else if (dice < 12) {
      if (link_ && sender_.GetState() >= SenderMachine::State::kGranted && sender_.Live())
        Post({Message::kPing});
    } else if (dice < 12 + fault_) {
      Fault();
    } else if (dice < 60 && !flight_.empty()) {
      Deliver();
    } else {
      Produce();
    }
    if (closing_ && flight_.empty()) Drain();
    if (closing_ && Chance(4)) Drain();
  }

  /// The producer: starts, sends block after block, commits.
  void Produce() {
    sender_.Started(now_);
    const auto state = sender_.GetState();
    if (state != SenderMachine::State::kGranted && state != SenderMachine::State::kSending) return;
    if (next_ < kLayers * kBlocks) {
      sender_.Posted();
      ++sends_outstanding_;
      Post({Message::kData, static_cast<std::uint16_t>(next_ / kBlocks), next_ % kBlocks});
      flight_.push_back({.message = Message::kSendDone});  // local: neither lost nor repeated
      ++next_;
    } else {
      Apply(sender_.AllPosted());
    }
  }

  void Fault() {
    switch (Dice(4)) {
      case 0:
        return Apply(sender_.Abort(now_, TransferEnd::kAborted, Error(kCancelled, "sender"), true));
      case 1:
        return Apply(receiver_->Abort(now_, TransferEnd::kAborted, Error(kCancelled, "receiver"), true));
      case 2:  // the link dies: control messages are lost, sends end with an error
        link_ = false;
        std::erase_if(flight_, [](const InFlight& item) { return item.message != Message::kSendDone; });
        Apply(sender_.Abort(now_, TransferEnd::kFailed, Error(kUnavailable, "lost"), false));
        return Apply(receiver_->Abort(now_, TransferEnd::kFailed, Error(kUnavailable, "lost"), false));
      case 3:
        return Apply(receiver_->Placed(now_, {}, Error(kDataLoss, "checksum differs")));
    }
  }

  void Post(InFlight item) {
    if (!link_ || Dice(100) < loss_) return;
    flight_.push_back(item);
    if (Dice(100) < repeat_) flight_.push_back(item);
  }

  void Deliver() {
    const std::size_t at = random_() % flight_.size();
    const InFlight item = flight_[at];
    flight_.erase(flight_.begin() + static_cast<std::ptrdiff_t>(at));
    switch (item.message) {
      case Message::kGrant:
        return Apply(sender_.Granted());
      case Message::kData:
        return Place(item);
      case Message::kCommit:
        return Apply(
            receiver_->Committed(now_, {.first_token = 5, .prompt_tokens = 40}, kLayers * kBlocks, kBlocks));
      case Message::kAck:
        return Apply(sender_.Acked(now_));
      case Message::kAbortToReceiver:
        return Apply(receiver_->Abort(now_, TransferEnd::kAborted, Error(kAborted, "told"), false));
      case Message::kAbortToSender:
        return Apply(sender_.Abort(now_, TransferEnd::kAborted, Error(kAborted, "told"), false));
      case Message::kPing:
        return receiver_->Renew(now_);
      case Message::kSendDone:
        --sends_outstanding_;
        return Apply(sender_.Sent(now_, link_ ? absl::OkStatus() : Error(kUnavailable, "lost")));
    }
  }

  void Place(const InFlight& item) {
    if (closing_ || window_closed_) return;  // dropped by the transport
    placed_[{item.layer, item.block}] = true;
    Apply(receiver_->Placed(now_,
                            {{.layer = item.layer, .blocks = {.first = BlockIndex(item.block), .count = 1}}},
                            absl::OkStatus()));
  }

  void Drain() {
    closing_ = false;
    Apply(receiver_->Drained());
  }

  void Apply(const SenderMachine::Actions& actions) {
    using Kind = SenderMachine::Action::Kind;
    for (const auto& action : actions) {
      if (sender_ended_ > 0) ++wrong_order_;
      switch (action.kind) {
        case Kind::kReportGranted:
        case Kind::kCancelSends:
        case Kind::kForceClosePeer:
          break;
        case Kind::kSendCommit:
          Post({Message::kCommit});
          break;
        case Kind::kSendAbort:
          Post({Message::kAbortToReceiver});
          break;
        case Kind::kReportEnded:
          ++sender_ended_;
          sender_end_ = action.end;
          if (sends_outstanding_ != 0) ++wrong_order_;
          break;
      }
    }
  }

  void Apply(const ReceiverMachine::Actions& actions) {
    using Kind = ReceiverMachine::Action::Kind;
    for (const auto& action : actions) {
      if (released_ > 0 && action.kind != Kind::kSendAck) ++wrong_order_;
      switch (action.kind) {
        case Kind::kCloseWindow:
          closing_ = window_closed_ = true;
          break;
        case Kind::kSendAck:
          Post({Message::kAck});
          break;
        case Kind::kSendAbort:
          Post({Message::kAbortToSender});
          break;
        case Kind::kForceClosePeer:
          break;
        case Kind::kReportCommitted:
          ++committed_;
          break;
        case Kind::kReportFailed:
          ++failed_;
          break;
        case Kind::kReportReleased:
          ++released_;
          if (committed_ + failed_ != 1) ++wrong_order_;
          break;
      }
    }
  }

  std::mt19937 random_;
  TimePoint now_{};
  SenderMachine sender_{{.transfer_deadline = kDeadline, .drain_deadline = kDrain}};
  std::optional<ReceiverMachine> receiver_;
  std::deque<InFlight> flight_;
  std::map<std::pair<std::uint16_t, std::uint32_t>, bool> placed_ = [] {
    std::map<std::pair<std::uint16_t, std::uint32_t>, bool> all;
    for (std::uint16_t layer = 0; layer < kLayers; ++layer) {
      for (std::uint32_t block = 0; block < kBlocks; ++block) all[{layer, block}] = false;
    }
    return all;
  }();
  bool link_ = true;
  bool closing_ = false;
  bool window_closed_ = false;
  std::uint32_t next_ = 0;
  unsigned loss_ = 0, repeat_ = 0, fault_ = 0;
  int sends_outstanding_ = 0, sender_ended_ = 0, committed_ = 0, failed_ = 0, released_ = 0, wrong_order_ = 0;
  TransferEnd sender_end_ = TransferEnd::kFailed;
};

TEST_CASE("under 5,000 random schedules each side ends once, in time, and nothing wrong is committed") {
  int committed = 0;
  for (unsigned seed = 0; seed < 5000; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.Run();
    world.Check();
    committed += world.Committed() ? 1 : 0;
  }
  // Neither fate is rare: the schedules test both.
  CHECK(committed > 1000);
  CHECK(committed < 4900);
}

}  // namespace
}  // namespace baton::kvtransfer
