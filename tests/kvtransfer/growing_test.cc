#include <catch2/catch.hpp>

#include "tests/kvtransfer/worker.h"

/// Answers that are written while they are sent.
namespace baton::kvtransfer {
namespace {

using test::Blocks;
using test::Key;
using test::Worker;

struct Moving {
  explicit Moving(const std::string& transport)
      : from({.id = WorkerId(1), .transport = transport}), to({.id = WorkerId(2), .transport = transport}) {
    REQUIRE(test::Introduce(from, to));
    REQUIRE(to.Receive({.key = Key(1),
                        .sender = WorkerId(1),
                        .sender_incarnation = from.Setup().incarnation,
                        .prompt_tokens = 30 * 16,
                        .blocks = target,
                        .least_tokens = 100},
                       receipt)
                .ok());
    REQUIRE(from.Send({.key = Key(1),
                       .receiver = WorkerId(2),
                       .receiver_incarnation = to.Setup().incarnation,
                       .prompt_tokens = 30 * 16,
                       .blocks = Blocks(3, 10),
                       .grows = true},
                      dispatch)
                .ok());
    REQUIRE(dispatch->WaitFor([](const auto& s) { return s.granted; }));
  }
  void Round(std::int64_t first, std::int64_t tokens, const std::vector<BlockIndex>& more, int round) {
    from.PositionsReady(Key(1), first, tokens, more);
    REQUIRE(dispatch->WaitFor([&](const auto& s) { return s.idle >= round; }));
  }

  std::vector<BlockIndex> target = Blocks(100, 30);
  Worker from, to;
  Worker::Receipt receipt = std::make_shared<test::Watched<Worker::Receiving>>();
  Worker::Dispatch dispatch = std::make_shared<test::Watched<Worker::Sending>>();
};

TEST_CASE("an answer arrives that grew while it was sent, in fewer blocks than were granted") {
  const std::string transport = GENERATE("loopback", "ucx");
  CAPTURE(transport);
  Moving move(transport);
  auto source = Blocks(3, 10);
  const auto more = Blocks(50, 3);
  source.insert(source.end(), more.begin(), more.end());

  move.from.Fill(source, 5);
  move.from.Fill({BlockIndex(12)}, 77);  // the tenth is still written, and must not go
  move.Round(0, 159, {}, 1);
  move.from.Fill(source, 5);
  move.Round(159, 36, more, 2);
  move.from.PositionsReady(Key(1), 195, 1, {});
  move.from.Commit(Key(1), {.prompt_tokens = 196, .answer = {4, 5, 6}});

  REQUIRE(move.receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  REQUIRE(move.dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  REQUIRE(move.receipt->Get().committed.has_value());
  CHECK(move.receipt->Get().committed->prompt_tokens == 196);
  CHECK(move.receipt->Get().committed->answer == std::vector<TokenId>{4, 5, 6});
  CHECK(move.dispatch->Get().ended == TransferEnd::kAcked);
  CHECK(move.to.Holds(Blocks(100, 13), 5));
  CHECK(move.from.Live() + move.to.Live() == 0);
}

TEST_CASE("a COMMIT of fewer positions than the receiver agreed to fails the transfer on both sides") {
  Moving move("loopback");
  move.Round(0, 99, {}, 1);

  move.from.Commit(Key(1), {.prompt_tokens = 99});

  REQUIRE(move.receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  REQUIRE(move.dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  CHECK(move.receipt->Get().failed == TransferEnd::kFailed);
  CHECK(move.dispatch->Get().ended == TransferEnd::kFailed);
}

TEST_CASE("a send that grows is given up between two rounds, and both sides are free") {
  Moving move("ucx");
  move.Round(0, 140, {}, 1);

  move.from.AbortSend(Key(1));

  REQUIRE(move.dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  REQUIRE(move.receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  CHECK(move.dispatch->Get().ended == TransferEnd::kAborted);
  CHECK(move.receipt->Get().failed == TransferEnd::kAborted);
}

}  // namespace
}  // namespace baton::kvtransfer
