#include <limits>

#include <catch2/catch.hpp>

#include "tests/decode/decode_rig.h"

namespace baton::decode {
namespace {

TEST_CASE("a committed prompt is answered token by token from index 0 on") {
  DecodeRig rig;

  rig.Order(Order(Key(1), 20, 6));
  rig.Commit(Key(1), 20);

  CHECK(rig.Released(Key(1)).outcome() == "done");
  const std::vector<wire::Token> tokens = rig.Tokens(Key(1));
  REQUIRE(tokens.size() == 6);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    CHECK(tokens[i].index() == static_cast<std::int64_t>(i));
    CHECK(tokens[i].finish() == (i == 5 ? "length" : ""));
  }
  CHECK(tokens[0].token() == kFirst);
  CHECK(rig.Releases() == 1);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a hand-off's time is counted once, whole where the sender reads the same clock") {
  DecodeRig rig;

  rig.Order(Order(Key(1), 20, 6));
  rig.Order(Order(Key(2), 20, 6));
  rig.Commit(Key(1), 20, kFirst, std::chrono::steady_clock::now() - std::chrono::hours(1));
  rig.Commit(Key(2), 20);
  CHECK(rig.Released(Key(1)).outcome() == "done");
  CHECK(rig.Released(Key(2)).outcome() == "done");

  const std::string text = rig.registry.Text();
  CHECK_THAT(text, Catch::Contains("baton_handoff_seconds_count{of=\"prompt\"} 1\n"));
  CHECK_THAT(text, Catch::Contains("baton_handoff_seconds_bucket{of=\"prompt\",le=\"1\"} 0\n"));  // an hour
  CHECK_THAT(text, Catch::Contains("baton_handoff_start_seconds_count{of=\"prompt\"} 2\n"));
  CHECK_THAT(text, Catch::Contains("baton_handoff_start_seconds_count{of=\"move\"} 0\n"));
}

TEST_CASE("a reservation takes prompt and first growth, and gives the transport the prompt's blocks") {
  DecodeRig rig;

  rig.Order(Order(Key(1), 20, 60));

  CHECK(rig.Blocks().used == 3);
  rig.OnLoop([&] {
    const kvtransfer::ReceiveRequest& request = rig.handoff.receives.at(Key(1)).first;
    CHECK(request.blocks.size() == 2);
    CHECK(request.prompt_tokens == 20);
    CHECK(request.sender == WorkerId(3));
    CHECK(request.sender_incarnation == Incarnation(33));
  });
  rig.Commit(Key(1), 20);
  CHECK(rig.Released(Key(1)).outcome() == "done");
}

TEST_CASE("an answer that ends with its first token is not decoded") {
  DecodeRig rig;
  wire::Envelope order = Order(Key(1), 20, 10);
  std::string finish = "length";
  SECTION("by its length") {
    order.mutable_reserve()->mutable_stop()->set_max_tokens(1);
  }
  SECTION("by a stop token") {
    order.mutable_reserve()->mutable_stop()->add_stop_ids(kFirst);
    finish = "stop";
  }

  rig.Order(order);
  rig.Commit(Key(1), 20);

  CHECK(rig.Released(Key(1)).outcome() == "done");
  REQUIRE(rig.Tokens(Key(1)).size() == 1);
  CHECK(rig.Tokens(Key(1))[0].finish() == finish);
  CHECK(!rig.stepping.Raised());
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("an answer that an earlier attempt began goes on at its index") {
  DecodeRig rig;
  wire::Envelope order = Order(Key(1, 2), 20, 9);
  order.mutable_reserve()->set_resumed(4);
  std::size_t tokens = 5;
  std::string finish = "length";
  SECTION("to its length") {}
  SECTION("to its last token") {
    order.mutable_reserve()->mutable_stop()->set_max_tokens(5);
    tokens = 1;
  }
  SECTION("to a stop token, which min_tokens allows by then") {
    order.mutable_reserve()->mutable_stop()->set_min_tokens(5);
    order.mutable_reserve()->mutable_stop()->add_stop_ids(kFirst);
    tokens = 1;
    finish = "stop";
  }

  rig.Order(order);
  rig.Commit(Key(1, 2), 20);

  CHECK(rig.Released(Key(1, 2)).outcome() == "done");
  const std::vector<wire::Token> seen = rig.Tokens(Key(1, 2));
  REQUIRE(seen.size() == tokens);
  for (std::size_t i = 0; i < tokens; ++i) {
    CHECK(seen[i].index() == static_cast<std::int64_t>(i) + 4);
    CHECK(seen[i].finish() == (i + 1 == tokens ? finish : ""));
  }
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a transfer cancelled while it receives holds its blocks in quarantine until no write can land") {
  DecodeRig rig;
  rig.Order(Order(Key(1), 20, 10));
  REQUIRE(rig.handoff.WaitFor("receive 1/1"));

  rig.Cancel(Key(1));
  CHECK(rig.handoff.Count("abort_receive 1/1") == 1);
  CHECK(rig.Blocks().used == 2);
  rig.Fail(Key(1), TransferEnd::kAborted, Error(kCancelled, "cancelled"));
  CHECK(rig.Blocks().quarantined == 2);
  CHECK(!rig.IsReleased(Key(1)));
  rig.ReleaseTransfer(Key(1));

  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a Cancel that meets a COMMIT on its way decodes nothing") {
  DecodeRig rig;
  rig.Order(Order(Key(1), 20, 10));
  REQUIRE(rig.handoff.WaitFor("receive 1/1"));

  rig.Cancel(Key(1));
  rig.Commit(Key(1), 20);

  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.Tokens(Key(1)).empty());
  CHECK(!rig.stepping.Raised());
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a failed transfer is released with its cause once no write can land") {
  DecodeRig rig;
  rig.Order(Order(Key(1), 20, 10));
  TransferEnd end = TransferEnd::kFailed;
  absl::Status status = Error(kUnavailable, "the peer is gone");
  std::string code = "peer_lost";
  SECTION("a lost peer") {}
  SECTION("a wrong checksum") {
    status = Error(kDataLoss, "checksum");
    code = "kv_transfer";
  }
  SECTION("a lease") {
    end = TransferEnd::kExpired;
    status = Error(kDeadlineExceeded, "the lease ended");
    code = "kv_transfer";  // not the request's own: that may be placed again
  }

  rig.Fail(Key(1), end, status);
  CHECK(rig.Blocks().quarantined == 2);
  CHECK(!rig.IsReleased(Key(1)));
  rig.ReleaseTransfer(Key(1));

  CHECK(rig.Released(Key(1)).outcome() == "failed");
  CHECK(rig.Released(Key(1)).error_code() == code);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("after the sender gave up, the router's Cancel says how the order ended") {
  DecodeRig rig;
  rig.Order(Order(Key(1), 20, 10));
  rig.Fail(Key(1), TransferEnd::kAborted, Error(kAborted, "the sender says: cancelled"));
  rig.ReleaseTransfer(Key(1));
  CHECK(!rig.IsReleased(Key(1)));

  SECTION("the router is quick") {
    rig.Cancel(Key(1));
    CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  }
  SECTION("the router says nothing") {
    CHECK(rig.Released(Key(1)).error_code() == "kv_transfer");
  }
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("an answer cancelled while it is written ends before the next step") {
  DecodeRig rig;
  rig.Shut();
  rig.Order(Order(Key(1), 20, 100));
  rig.Commit(Key(1), 20);
  REQUIRE(rig.stepping.Wait());

  rig.Cancel(Key(1));
  CHECK(!rig.IsReleased(Key(1)));
  rig.Open();

  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.Tokens(Key(1)).size() == 1);
  CHECK(rig.Releases() == 1);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("reservations wait for blocks in order, and go on as blocks come free") {
  DecodeRig rig;
  rig.Order(Order(Key(1), 100, 20));  // all 8 blocks
  rig.Order(Order(Key(2), 20, 10));
  rig.Order(Order(Key(3), 20, 10));
  CHECK(rig.handoff.Count("receive 2/1") == 0);

  rig.Cancel(Key(3));
  CHECK(rig.Released(Key(3)).outcome() == "cancelled");
  rig.Commit(Key(1), 100);
  rig.Commit(Key(2), 20);

  CHECK(rig.Released(Key(2)).outcome() == "done");
  CHECK(rig.handoff.Count("receive 3/1") == 0);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("reservations past the queue's bound, and larger than the memory, are refused") {
  DecodeRig rig(/*queue=*/1);
  rig.Order(Order(Key(1), 100, 20));
  rig.Order(Order(Key(2), 16, 16));  // waits

  rig.Order(Order(Key(3), 16, 16));
  CHECK(rig.Released(Key(3)).error_code() == "no_memory");
  rig.Cancel(Key(2));
  rig.Order(Order(Key(4), 100, 29));
  CHECK(rig.Released(Key(4)).error_code() == "no_memory");
  CHECK(rig.InFlight() == 1);
}

TEST_CASE("a reservation that cannot begin is refused and holds nothing") {
  DecodeRig rig;
  wire::Envelope order = Order(Key(1), 20, 10);
  std::string code = "internal";
  SECTION("an id past the vocabulary") {
    order.mutable_reserve()->set_tokens(3, 97);
  }
  SECTION("an empty prompt") {
    order.mutable_reserve()->clear_tokens();
  }
  SECTION("an answer beyond the context") {
    order.mutable_reserve()->mutable_stop()->set_max_tokens(std::numeric_limits<std::int64_t>::max());
  }
  SECTION("a prefill worker that is not connected") {
    rig.OnLoop([&] { rig.handoff.refusal = Error(kUnavailable, "worker 3 is not connected"); });
    code = "peer_lost";
  }

  rig.Order(order);

  CHECK(rig.Released(Key(1)).error_code() == code);
  CHECK(rig.Blocks().free == kBlocks);
  CHECK(rig.InFlight() == 0);
}

TEST_CASE("a first token outside the vocabulary fails the transfer") {
  DecodeRig rig;
  rig.Order(Order(Key(1), 20, 10));

  rig.Commit(Key(1), 20, /*first=*/97);

  CHECK(rig.Released(Key(1)).error_code() == "kv_transfer");
  CHECK(rig.Tokens(Key(1)).empty());
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a new attempt ends the one before it; an older or cancelled one does not begin") {
  DecodeRig rig;
  rig.Order(Order(Key(1, 1), 20, 10));
  REQUIRE(rig.handoff.WaitFor("receive 1/1"));

  rig.Order(Order(Key(1, 3), 20, 10));
  rig.Order(Order(Key(1, 2), 20, 10));
  rig.Cancel(Key(2, 1));
  rig.Order(Order(Key(2, 1), 20, 10));

  CHECK(rig.Released(Key(1, 2)).outcome() == "cancelled");
  CHECK(rig.Released(Key(2, 1)).outcome() == "cancelled");
  CHECK(rig.handoff.Count("abort_receive 1/1") == 1);
  rig.Fail(Key(1, 1), TransferEnd::kAborted, Error(kCancelled, "cancelled"));
  rig.ReleaseTransfer(Key(1, 1));
  rig.Commit(Key(1, 3), 20);
  CHECK(rig.Released(Key(1, 1)).outcome() == "cancelled");
  CHECK(rig.Released(Key(1, 3)).outcome() == "done");
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a deadline ends a reservation wherever it stands") {
  DecodeRig rig;
  wire::Envelope order = Order(Key(1), 20, 10);
  order.mutable_reserve()->set_deadline_ms(1);

  rig.Order(order);
  REQUIRE(rig.handoff.WaitFor("abort_receive 1/1"));
  rig.Fail(Key(1), TransferEnd::kAborted, Error(kCancelled, "cancelled"));
  rig.ReleaseTransfer(Key(1));

  CHECK(rig.Released(Key(1)).error_code() == "deadline");
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("when the router is lost everything ends, whatever its state") {
  DecodeRig rig;
  rig.Shut();
  rig.Order(Order(Key(1), 20, 10));   // will decode
  rig.Order(Order(Key(2), 20, 40));   // receives
  rig.Order(Order(Key(3), 100, 10));  // waits
  rig.Commit(Key(1), 20);
  REQUIRE(rig.stepping.Wait());

  rig.OnLoop([&] { rig.service->CancelAll(); });
  rig.Fail(Key(2), TransferEnd::kAborted, Error(kCancelled, "cancelled"));
  rig.ReleaseTransfer(Key(2));
  rig.Open();

  for (std::uint64_t id = 1; id <= 3; ++id) CHECK(rig.Released(Key(id)).outcome() == "cancelled");
  CHECK(rig.handoff.Count("receive 3/1") == 0);
  CHECK(rig.Releases() == 3);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("several answers share the prompt's full blocks and go on in copies of its last one") {
  DecodeRig rig;
  rig.Shut();

  rig.Order(OrderOfSeveral(Key(1), 40, 20, 3));
  // 60 positions are 4 blocks; 2 are full of prompt, so that each further answer takes 2.
  CHECK(rig.Blocks().used == 8);
  const engine::BlockTable prompt = CommitSeveral(rig, Key(1), 40, {6, 7});
  rig.OnLoop([&] {
    rig.pool.Release({prompt[0], prompt[1]});
    rig.pool.Release({prompt[0], prompt[1]});
    CHECK(rig.pool.Counts().used == 8);  // each is still held by the first answer
    rig.pool.Retain({prompt[0], prompt[1]});
    rig.pool.Retain({prompt[0], prompt[1]});
  });
  rig.Open();
  CHECK(rig.Released(Key(1)).outcome() == "done");

  CHECK(rig.Blocks().used == 0);
  const test::FakeModel model;
  engine::Sampler sampler(model.Config().vocabulary);
  for (std::int32_t sample = 0; sample < 3; ++sample) {
    CAPTURE(sample);
    std::vector<TokenId> tokens = Prompt(40);
    std::int64_t index = 0;
    for (const wire::Token& token : rig.Tokens(Key(1))) {
      if (token.sample() != sample) continue;
      REQUIRE(token.index() == index);
      const TokenId wanted = index == 0
                                 ? kFirst + sample
                                 : sampler.Sample(model.PlainLogits(tokens), {.temperature = 1.5, .seed = 77},
                                                  std::ssize(tokens), {.sample = sample});
      REQUIRE(token.token() == wanted);
      tokens.push_back(token.token());
      CHECK(token.finish() == (index == 19 ? "length" : ""));
      ++index;
    }
    CHECK(index == 20);
  }
}

TEST_CASE("a cancel ends all answers of a request and frees what they share") {
  DecodeRig rig;
  rig.Shut();

  rig.Order(OrderOfSeveral(Key(1), 40, 20, 3));
  static_cast<void>(CommitSeveral(rig, Key(1), 40, {6, 7}));
  rig.Cancel(Key(1));
  rig.Open();

  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.Releases() == 1);
  CHECK(rig.Blocks().used == 0);
}

TEST_CASE("an answer that is stopped is written no more, whether the prompt has come or not") {
  const bool early = GENERATE(true, false);
  DecodeRig rig;
  rig.Shut();
  wire::Envelope stop;
  stop.mutable_stop_sample()->set_request(1);
  stop.mutable_stop_sample()->set_attempt(1);
  stop.mutable_stop_sample()->set_sample(1);
  rig.Order(OrderOfSeveral(Key(1), 40, 20, 3));
  if (early) rig.Order(stop);
  static_cast<void>(CommitSeveral(rig, Key(1), 40, {6, 7}));
  if (!early) rig.Order(stop);
  rig.Open();
  CHECK(rig.Released(Key(1)).outcome() == "done");
  std::vector<int> tokens(3);
  for (const wire::Token& token : rig.Tokens(Key(1))) ++tokens[static_cast<std::size_t>(token.sample())];
  CHECK(std::pair(tokens[0], tokens[2]) == std::pair(20, 20));
  CHECK(tokens[1] <= (early ? 1 : 2));  // a step may have begun
  CHECK(rig.Blocks().used == 0);
}

TEST_CASE("a COMMIT with too few first tokens, or an unknown one, fails the request") {
  for (const std::vector<TokenId>& more : {std::vector<TokenId>{6}, std::vector<TokenId>{6, 100000}}) {
    DecodeRig rig;
    rig.Order(OrderOfSeveral(Key(1), 40, 20, 3));
    static_cast<void>(CommitSeveral(rig, Key(1), 40, more));
    CHECK(rig.Released(Key(1)).error_code() == "kv_transfer");
    CHECK(rig.Blocks().used == 0);
  }
}

}  // namespace
}  // namespace baton::decode
