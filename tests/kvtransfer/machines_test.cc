#include <catch2/catch.hpp>

#include <algorithm>

#include "common/base/error.h"
#include "kvtransfer/receiver_machine.h"
#include "kvtransfer/sender_machine.h"

namespace baton::kvtransfer {
namespace {

using std::chrono::seconds;
using SendKind = SenderMachine::Action::Kind;
using ReceiveKind = ReceiverMachine::Action::Kind;

constexpr TimePoint kStart{};

template <typename Kind, typename Actions>
std::vector<Kind> Kinds(const Actions& actions) {
  std::vector<Kind> kinds;
  for (const auto& action : actions) kinds.push_back(action.kind);
  return kinds;
}
std::vector<SendKind> Of(const SenderMachine::Actions& actions) {
  return Kinds<SendKind>(actions);
}
std::vector<ReceiveKind> Of(const ReceiverMachine::Actions& actions) {
  return Kinds<ReceiveKind>(actions);
}

SenderMachine Sender() {
  return SenderMachine({.transfer_deadline = seconds(30), .drain_deadline = seconds(2)});
}
ReceiverMachine Receiver() {
  return {{.lease = seconds(10), .transfer_deadline = seconds(30), .drain_deadline = seconds(2)},
          kStart,
          2,
          {BlockIndex(9), BlockIndex(4)}};
}
std::vector<DataRun> Run(std::uint16_t layer, std::uint32_t first, std::uint32_t count = 1) {
  return {{.layer = layer, .blocks = {.first = BlockIndex(first), .count = count}}};
}
absl::Status Broken() {
  return Error(kUnavailable, "broken");
}

TEST_CASE("a sender goes from grant to acknowledgement and ends once") {
  auto sender = Sender();

  CHECK(Of(sender.Granted()) == std::vector{SendKind::kReportGranted});
  CHECK(sender.Granted().empty());
  sender.Posted();
  CHECK(sender.Sent(kStart, absl::OkStatus()).empty());
  CHECK(Of(sender.AllPosted()) == std::vector{SendKind::kSendCommit});
  const auto ended = sender.Acked(kStart);
  REQUIRE(Of(ended) == std::vector{SendKind::kReportEnded});
  CHECK(ended[0].end == TransferEnd::kAcked);
  CHECK(sender.Acked(kStart).empty());
  CHECK(sender.Abort(kStart, TransferEnd::kAborted, Broken(), true).empty());
}

TEST_CASE("a sender's blocks stay pinned until the last posted send has ended") {
  auto sender = Sender();
  static_cast<void>(sender.Granted());
  sender.Posted();
  sender.Posted();

  const auto aborted = sender.Abort(kStart, TransferEnd::kAborted, Broken(), /*tell_peer=*/true);

  CHECK(Of(aborted) == std::vector{SendKind::kCancelSends, SendKind::kSendAbort});
  CHECK(sender.Sent(kStart, absl::OkStatus()).empty());
  CHECK(Of(sender.Sent(kStart, Broken())) == std::vector{SendKind::kReportEnded});
}

TEST_CASE("a sender whose drain takes too long closes the endpoint, once") {
  auto sender = Sender();
  static_cast<void>(sender.Granted());
  sender.Posted();
  static_cast<void>(sender.Abort(kStart, TransferEnd::kAborted, Broken(), true));

  CHECK(sender.Tick(kStart + seconds(1)).empty());
  CHECK(Of(sender.Tick(kStart + seconds(2))) == std::vector{SendKind::kForceClosePeer});
  CHECK(sender.Tick(kStart + seconds(3)).empty());
}

TEST_CASE("a sender's deadline runs from the producer's start, not before") {
  auto sender = Sender();
  static_cast<void>(sender.Granted());
  CHECK(sender.Tick(kStart + seconds(1000)).empty());

  sender.Started(kStart + seconds(1000));

  CHECK(sender.Tick(kStart + seconds(1029)).empty());
  const auto expired = sender.Tick(kStart + seconds(1030));
  CHECK(Of(expired) == std::vector{SendKind::kSendAbort, SendKind::kReportEnded});
  CHECK(expired.back().end == TransferEnd::kExpired);
}

TEST_CASE("a send that fails fails the transfer and tells the peer") {
  auto sender = Sender();
  static_cast<void>(sender.Granted());
  sender.Posted();

  const auto failed = sender.Sent(kStart, Broken());

  CHECK(Of(failed) == std::vector{SendKind::kSendAbort, SendKind::kReportEnded});
  CHECK(failed.back().end == TransferEnd::kFailed);
}

TEST_CASE("a receiver commits when every block of every layer is placed, and acknowledges") {
  auto receiver = Receiver();
  CHECK(receiver.Placed(kStart, Run(0, 4), absl::OkStatus()).empty());
  CHECK(receiver.Placed(kStart, Run(0, 9), absl::OkStatus()).empty());
  CHECK(receiver.Placed(kStart, Run(1, 4), absl::OkStatus()).empty());
  CHECK(receiver.Committed(kStart, {.first_token = 7, .prompt_tokens = 20}, 4, 2).empty());

  const auto done = receiver.Placed(kStart, Run(1, 9), absl::OkStatus());

  CHECK(Of(done) ==
        std::vector{ReceiveKind::kCloseWindow, ReceiveKind::kSendAck, ReceiveKind::kReportCommitted});
  CHECK(receiver.Commit()->first_token == 7);
  CHECK(Of(receiver.Drained()) == std::vector{ReceiveKind::kReportReleased});
  CHECK(receiver.Drained().empty());
}

TEST_CASE("a COMMIT that uses fewer blocks than were granted needs no data for the others") {
  auto receiver = Receiver();  // positions are in 9, then in 4
  static_cast<void>(receiver.Placed(kStart, Run(0, 9), absl::OkStatus()));
  CHECK(receiver.Committed(kStart, {.first_token = 7, .prompt_tokens = 5}, 2, 1).empty());
  CHECK(receiver.Committed(kStart, {.first_token = 7, .prompt_tokens = 5}, 2, 1).empty());

  CHECK(Of(receiver.Placed(kStart, Run(1, 9), absl::OkStatus())) ==
        std::vector{ReceiveKind::kCloseWindow, ReceiveKind::kSendAck, ReceiveKind::kReportCommitted});
}

TEST_CASE("a COMMIT that uses fewer blocks than have come fails the transfer") {
  auto receiver = Receiver();
  static_cast<void>(receiver.Placed(kStart, Run(0, 4), absl::OkStatus()));

  CHECK(Of(receiver.Committed(kStart, {.first_token = 7, .prompt_tokens = 5}, 2, 1)) ==
        std::vector{ReceiveKind::kSendAbort, ReceiveKind::kReportFailed, ReceiveKind::kCloseWindow});
}

TEST_CASE("a COMMIT that counts other messages than have come fails the transfer") {
  const std::uint64_t counted = GENERATE(3, 5);
  auto receiver = Receiver();
  CHECK(receiver.Committed(kStart, {.first_token = 7, .prompt_tokens = 20}, counted, 2).empty());
  static_cast<void>(receiver.Placed(kStart, Run(0, 4), absl::OkStatus()));
  static_cast<void>(receiver.Placed(kStart, Run(0, 9), absl::OkStatus()));
  static_cast<void>(receiver.Placed(kStart, Run(1, 4), absl::OkStatus()));

  const auto failed = receiver.Placed(kStart, Run(1, 9), absl::OkStatus());

  REQUIRE(Of(failed) ==
          std::vector{ReceiveKind::kSendAbort, ReceiveKind::kReportFailed, ReceiveKind::kCloseWindow});
  CHECK(failed[1].end == TransferEnd::kFailed);
}

TEST_CASE("repeated data counts once, and a repeated COMMIT is acknowledged again") {
  auto receiver = Receiver();
  for (int i = 0; i < 4; ++i) CHECK(receiver.Placed(kStart, Run(0, 4), absl::OkStatus()).empty());
  CHECK(receiver.Committed(kStart, {.first_token = 7, .prompt_tokens = 20}, 4, 2).empty());
  static_cast<void>(receiver.Placed(kStart, Run(0, 9), absl::OkStatus()));
  static_cast<void>(receiver.Placed(kStart, Run(1, 9), absl::OkStatus()));
  REQUIRE_FALSE(receiver.Placed(kStart, Run(1, 4), absl::OkStatus()).empty());

  CHECK(Of(receiver.Committed(kStart, {.first_token = 7, .prompt_tokens = 20}, 4, 2)) ==
        std::vector{ReceiveKind::kSendAck});
}

TEST_CASE("doubtful data fails the transfer; its blocks are released only when drained") {
  auto receiver = Receiver();

  const auto failed = receiver.Placed(kStart, Run(0, 4), Error(kDataLoss, "checksum differs"));

  CHECK(Of(failed) ==
        std::vector{ReceiveKind::kSendAbort, ReceiveKind::kReportFailed, ReceiveKind::kCloseWindow});
  CHECK(failed[1].end == TransferEnd::kFailed);
  CHECK(receiver.Committed(kStart, {}, 4, 2).empty());
  CHECK(receiver.GetState() == ReceiverMachine::State::kAborting);
  CHECK(Of(receiver.Tick(kStart + seconds(2))) == std::vector{ReceiveKind::kForceClosePeer});
  CHECK(receiver.Tick(kStart + seconds(3)).empty());
  CHECK(Of(receiver.Drained()) == std::vector{ReceiveKind::kReportReleased});
}

TEST_CASE("a receiver's lease expires without a sign of the sender, and each sign renews it") {
  auto receiver = Receiver();
  receiver.Renew(kStart + seconds(5));
  CHECK(receiver.Tick(kStart + seconds(14)).empty());

  const auto expired = receiver.Tick(kStart + seconds(15));

  REQUIRE(Of(expired) ==
          std::vector{ReceiveKind::kSendAbort, ReceiveKind::kReportFailed, ReceiveKind::kCloseWindow});
  CHECK(expired[1].end == TransferEnd::kExpired);
}

TEST_CASE("a receiver whose data stops coming expires although the sender is alive") {
  auto receiver = Receiver();
  static_cast<void>(receiver.Placed(kStart, Run(0, 4), absl::OkStatus()));
  for (int second = 1; second < 30; ++second) {
    receiver.Renew(kStart + seconds(second));
    REQUIRE(receiver.Tick(kStart + seconds(second)).empty());
  }
  receiver.Renew(kStart + seconds(30));

  CHECK(receiver.Tick(kStart + seconds(30)).size() == 3);
}

}  // namespace
}  // namespace baton::kvtransfer
