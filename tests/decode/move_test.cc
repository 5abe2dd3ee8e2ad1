#include <catch2/catch.hpp>

#include "tests/decode/decode_rig.h"

/// Answers that move from this worker to another, and from another to this one.
namespace baton::decode {
namespace {

constexpr std::int64_t kRoom = 64;  // blocks
constexpr std::int64_t kPrompt = 40;
constexpr std::int64_t kAnswer = 120;
const RequestKey kHere = Key(1, 1);
const RequestKey kThere = Key(1, 2);

wire::Envelope Reserve(RequestKey key, std::int32_t samples = 1) {
  wire::Envelope order = Order(key, kPrompt, kAnswer);
  wire::Sampling& sampling = *order.mutable_reserve()->mutable_sampling();
  sampling.set_temperature(1);
  sampling.set_seed(7);
  sampling.set_frequency_penalty(0.5);
  sampling.set_samples(samples);
  return order;
}

wire::Envelope MoveTo(RequestKey from, RequestKey to, std::int64_t positions_max) {
  wire::Envelope envelope;
  wire::Move& move = *envelope.mutable_move();
  move.set_request(from.request.value);
  move.set_attempt(from.attempt.value);
  move.set_new_attempt(to.attempt.value);
  move.set_worker(9);
  move.set_incarnation(99);
  move.set_positions_max(positions_max);
  return envelope;
}

/// The whole answer, worked out one token at a time.
std::vector<TokenId> Expected() {
  const test::FakeModel model;
  engine::Sampler sampler(model.Config().vocabulary);
  std::vector<TokenId> tokens = Prompt(kPrompt);
  engine::TokenHistory history;
  history.AddPrompt(tokens);
  std::vector<TokenId> answer = {kFirst};
  tokens.push_back(kFirst);
  history.AddAnswer(kFirst);
  while (std::ssize(answer) < kAnswer) {
    answer.push_back(sampler.Sample(model.PlainLogits(tokens),
                                    {.temperature = 1, .seed = 7, .frequency_penalty = 0.5},
                                    std::ssize(tokens), {.history = &history}));
    tokens.push_back(answer.back());
    history.AddAnswer(answer.back());
  }
  return answer;
}

struct MoveRig : DecodeRig {
  explicit MoveRig(std::int64_t blocks = kRoom) : DecodeRig(8, blocks, {.block_bytes = 256}) {}

  /// The answer of `kHere` is being written, and stands before its second token.
  void Write(const wire::Envelope& order = Reserve(kHere)) {
    Shut();
    Order(order);
    REQUIRE(handoff.WaitFor("receive 1/1"));
    OnLoop([&] {
      Fill(kHere, Prompt(kPrompt));
      handoff.receives.at(kHere).second.on_committed({.first_token = kFirst, .prompt_tokens = kPrompt});
      handoff.Release(kHere);
    });
    REQUIRE(stepping.Wait());
  }
  void Grant(RequestKey key) {
    OnLoop([&] { handoff.sends.at(key).second.on_granted(); });
  }
  void Idle(RequestKey key) {
    OnLoop([&] { handoff.sends.at(key).second.on_idle(); });
  }
  /// To its COMMIT.
  void MoveAway() {
    Order(MoveTo(kHere, kThere, 100));
    Grant(kThere);
    Idle(kThere);
    Open();
    REQUIRE(handoff.WaitFor("commit 1/2"));
  }
  void EndSend(RequestKey key, TransferEnd end) {
    OnLoop([&] { handoff.EndSend(key, end, end == TransferEnd::kAcked ? absl::OkStatus() : Broken()); });
  }
  static absl::Status Broken() { return Error(kUnavailable, "the peer is gone"); }
  std::vector<TokenId> Ids(RequestKey key) const {
    std::vector<TokenId> ids;
    for (const wire::Token& token : Tokens(key)) ids.push_back(token.token());
    return ids;
  }
  bool MoveFailed() {
    return sent.WaitFor([](const auto& all) {
      return std::ranges::any_of(all, [](const wire::Envelope& e) { return e.has_move_failed(); });
    });
  }
};

TEST_CASE("an answer is sent while it is written, stands still for the rest, and is released as moved") {
  MoveRig rig;
  rig.Write();

  rig.MoveAway();

  kvtransfer::CommitInfo commit;
  rig.OnLoop([&] { commit = rig.handoff.commits.at(kThere); });
  const std::vector<TokenId> expected = Expected();
  const auto count = std::ssize(commit.answer);
  CHECK(rig.handoff.Count("ready 0+40 more 3 1/2") == 1);
  CHECK(commit.prompt_tokens == kPrompt + count - 1);
  REQUIRE(count >= 2);
  CHECK(commit.answer == std::vector<TokenId>(expected.begin(), expected.begin() + count));
  CHECK(rig.Blocks().used > 0);
  CHECK_FALSE(rig.IsReleased(kHere));
  rig.EndSend(kThere, TransferEnd::kAcked);

  CHECK(rig.Released(kHere).outcome() == "moved");
  CHECK(rig.Ids(kHere) == commit.answer);  // not one more
  CHECK(rig.Blocks().free == kRoom);
}

TEST_CASE("an answer whose move fails, wherever it stands, goes on here to its end") {
  MoveRig rig;
  rig.Write();
  SECTION("before it is granted") {
    rig.Order(MoveTo(kHere, kThere, 100));
    rig.EndSend(kThere, TransferEnd::kAborted);
  }
  SECTION("while it copies") {
    rig.Order(MoveTo(kHere, kThere, 100));
    rig.Grant(kThere);
    rig.EndSend(kThere, TransferEnd::kFailed);
  }
  SECTION("after its COMMIT") {
    rig.MoveAway();
    rig.EndSend(kThere, TransferEnd::kExpired);
  }
  SECTION("and a second one as well") {
    rig.Order(MoveTo(kHere, kThere, 100));
    rig.EndSend(kThere, TransferEnd::kFailed);
    rig.Order(MoveTo(kHere, Key(1, 3), 100));
    rig.EndSend(Key(1, 3), TransferEnd::kFailed);
  }
  rig.Open();

  CHECK(rig.MoveFailed());
  CHECK(rig.Released(kHere).outcome() == "done");
  CHECK(rig.Ids(kHere) == Expected());
  CHECK(rig.Blocks().free == kRoom);
}

TEST_CASE(
    "an answer that ends or is cancelled while it is sent keeps its blocks until they are read no more") {
  MoveRig rig;
  wire::Envelope order = Reserve(kHere);
  order.mutable_reserve()->mutable_stop()->add_stop_ids(Expected()[60]);
  rig.Write(order);
  rig.Order(MoveTo(kHere, kThere, kPrompt + kAnswer - 1));
  rig.Grant(kThere);
  std::string outcome = "done";
  SECTION("it ends") {}
  SECTION("it is cancelled") {
    rig.Cancel(kHere);
    outcome = "cancelled";
  }
  rig.Open();

  REQUIRE(rig.handoff.WaitFor("abort_send 1/2"));
  CHECK_FALSE(rig.IsReleased(kHere));
  CHECK(rig.Blocks().used >= 3);
  rig.EndSend(kThere, TransferEnd::kAborted);
  CHECK(rig.Released(kHere).outcome() == outcome);
  CHECK(rig.Blocks().free == kRoom);
}

TEST_CASE("an answer that outgrows what is reserved for it before the grant comes does not move") {
  MoveRig rig;
  rig.Write();
  rig.Order(MoveTo(kHere, kThere, kPrompt + 10));
  rig.Open();
  REQUIRE(rig.WaitForTokens(kHere, 20));

  rig.OnLoop([&] {
    const auto send = rig.handoff.sends.find(kThere);
    if (send != rig.handoff.sends.end()) send->second.second.on_granted();
  });
  REQUIRE(rig.handoff.WaitFor("abort_send 1/2"));
  rig.EndSend(kThere, TransferEnd::kAborted);

  CHECK(rig.Released(kHere).outcome() == "done");
  CHECK(rig.Ids(kHere) == Expected());
}

TEST_CASE("what cannot move is refused, and goes on") {
  MoveRig rig;
  rig.Shut();
  SECTION("several answers to one prompt") {
    rig.Order(Reserve(kHere, 2));
    REQUIRE(rig.handoff.WaitFor("receive 1/1"));
    rig.OnLoop([&] {
      rig.handoff.receives.at(kHere).second.on_committed(
          {.first_token = kFirst, .prompt_tokens = kPrompt, .more_first_tokens = {6}});
    });
  }
  SECTION("an answer whose prompt has not come") {
    rig.Order(Reserve(kHere));
  }
  SECTION("an answer that is not here") {}

  rig.Order(MoveTo(kHere, kThere, 100));

  CHECK(rig.MoveFailed());
  CHECK(rig.handoff.Count("send 1/2") == 0);
}

TEST_CASE("an answer that arrives goes on after its last token, and tells those that the router may lack") {
  MoveRig rig;
  const std::vector<TokenId> expected = Expected();
  const std::int64_t count = 30;
  wire::Envelope order = Reserve(kThere);
  order.mutable_reserve()->set_positions_max(kPrompt + 60);
  order.mutable_reserve()->set_known(28);

  rig.Order(order);
  REQUIRE(rig.handoff.WaitFor("receive 1/2"));
  rig.OnLoop([&] {
    const kvtransfer::ReceiveRequest& request = rig.handoff.receives.at(kThere).first;
    CHECK(request.prompt_tokens == kPrompt + 60);
    CHECK(request.blocks.size() == 7);
    CHECK(request.least_tokens == kPrompt);
    std::vector<TokenId> tokens = Prompt(kPrompt);
    tokens.insert(tokens.end(), expected.begin(), expected.begin() + count - 1);
    rig.Fill(kThere, tokens);
    rig.handoff.receives.at(kThere).second.on_committed(
        {.prompt_tokens = kPrompt + count - 1, .answer = {expected.begin(), expected.begin() + count}});
    rig.handoff.Release(kThere);
  });

  CHECK(rig.Released(kThere).outcome() == "done");
  const std::vector<wire::Token> tokens = rig.Tokens(kThere);
  REQUIRE(std::ssize(tokens) == kAnswer - 28);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    CHECK(tokens[i].index() == static_cast<std::int64_t>(i) + 28);
    CHECK(tokens[i].token() == expected[i + 28]);
  }
  CHECK(tokens.back().finish() == "length");
  CHECK(rig.Blocks().free == kRoom);
}

TEST_CASE("an arrival that contradicts itself, or for which there is no room now, is refused") {
  MoveRig rig(/*blocks=*/16);
  wire::Envelope order = Reserve(kThere);
  order.mutable_reserve()->set_positions_max(kPrompt + 60);
  std::string code = "kv_transfer";
  kvtransfer::CommitInfo info{.prompt_tokens = kPrompt + 1, .answer = {5, 6}};
  SECTION("positions and tokens do not match") {
    info.prompt_tokens = kPrompt + 2;
  }
  SECTION("a token that there is not") {
    info.answer = {5, 97};
  }
  SECTION("no token") {
    info = {.prompt_tokens = kPrompt - 1, .answer = {}};
  }
  SECTION("more positions than its longest answer has") {
    order.mutable_reserve()->set_positions_max(kPrompt + kAnswer);
    code = "internal";
  }
  SECTION("no room") {
    wire::Envelope other = Reserve(Key(2));
    rig.Order(other);
    code = "no_memory";
  }

  rig.Order(order);
  if (code == "kv_transfer") {
    REQUIRE(rig.handoff.WaitFor("receive 1/2"));
    rig.OnLoop([&] {
      rig.handoff.receives.at(kThere).second.on_committed(info);
      rig.handoff.Release(kThere);
    });
  }

  CHECK(rig.Released(kThere).error_code() == code);
  CHECK(rig.InFlight() == (code == "no_memory" ? 1 : 0));
}

}  // namespace
}  // namespace baton::decode
