#include <catch2/catch.hpp>

#include "tests/prefill/prefill_rig.h"

/// KV of answers that comes back from decode into the prefix cache.
namespace baton::prefill {
namespace {

const RequestKey kBack = Key(1, 2);

wire::Envelope TakeBack(const std::vector<TokenId>& tokens, const std::string& salt = "",
                        RequestKey key = kBack) {
  wire::Envelope envelope;
  wire::TakeBack& order = *envelope.mutable_take_back();
  order.set_request(key.request.value);
  order.set_attempt(key.attempt.value);
  order.mutable_tokens()->Assign(tokens.begin(), tokens.end());
  order.set_cache_salt(salt);
  order.set_decode_worker(2);
  order.set_decode_incarnation(22);
  return envelope;
}

struct TakeRig : PrefillRig {
  explicit TakeRig(std::int64_t prefix_blocks = kBlocks) : PrefillRig(8, prefix_blocks) {}

  /// Sends a prompt through; what it found in the cache.
  std::int64_t Complete(RequestKey key, const std::vector<TokenId>& prompt, const std::string& salt = "") {
    wire::Envelope order = prefill::Order(key, prompt);
    order.mutable_prefill()->set_cache_salt(salt);
    const wire::Token token = PrefillRig::Complete(key, order);
    CHECK(token.token() == Next(model, prompt));
    return token.cached_tokens();
  }
  /// KV of `tokens` from `first` on, as decode would have sent it.
  void Arrive(const std::vector<TokenId>& tokens, std::int64_t first, RequestKey key = kBack) {
    OnLoop([&] {
      const engine::BlockTable fresh = handoff.receives.at(key).first.blocks;
      engine::BlockTable blocks(static_cast<std::size_t>(first / engine::kBlockTokens), BlockIndex(0));
      blocks.insert(blocks.end(), fresh.begin(), fresh.end());
      engine::StepBatch batch;
      for (auto i = static_cast<std::size_t>(first); i < tokens.size(); ++i) {
        batch.tokens.push_back(tokens[i]);
        batch.positions.push_back(static_cast<std::int32_t>(i));
      }
      batch.slices.push_back(
          {.blocks = blocks, .first_row = 0, .tokens = std::ssize(batch.tokens), .first_position = first});
      test::FakeModel writer;
      static_cast<void>(writer.Forward(batch, Arena(), {}));
      handoff.receives.at(key).second.on_committed({.prompt_tokens = std::ssize(tokens) - first});
      handoff.Release(key);
    });
  }
  std::optional<wire::Takes> Takes() const {
    for (const wire::Envelope& e : sent.Get()) {
      if (e.has_takes()) return e.takes();
    }
    return std::nullopt;
  }
  void Fail(RequestKey key, TransferEnd end) {
    OnLoop([&] {
      handoff.receives.at(key).second.on_failed(
          end, end == TransferEnd::kAborted ? Error(kCancelled, "cancelled") : Error(kUnavailable, "lost"));
    });
  }
};

TEST_CASE("an answer's KV joins the cache behind its prompt's, and the next turn computes only the rest") {
  TakeRig rig;
  const std::vector<TokenId> turn = Prompt(64);
  REQUIRE(rig.Complete(Key(1), Prompt(40)) == 0);

  rig.Order(TakeBack(turn));
  REQUIRE(rig.handoff.Count("receive 1/2") == 1);
  REQUIRE(rig.Takes().has_value());
  CHECK(rig.Takes()->first() == 32);
  kvtransfer::ReceiveRequest received;
  rig.OnLoop([&] { received = rig.handoff.receives.at(kBack).first; });
  CHECK(received.prompt_tokens == 32);
  CHECK(received.blocks.size() == 2);
  CHECK(received.sender == WorkerId(2));
  CHECK(received.sender_incarnation == Incarnation(22));
  CHECK(rig.InFlight() == 1);
  rig.Arrive(turn, 32);

  CHECK(rig.Released(kBack).outcome() == "done");
  CHECK(rig.InFlight() == 0);
  CHECK(rig.Blocks().cached == 4);
  CHECK(rig.Complete(Key(3), Prompt(75)) == 64);
  CHECK(rig.Complete(Key(4), Prompt(75), "another tenant's") == 0);
}

TEST_CASE("an answer whose prompt is not here any more comes whole; one that is here does not come") {
  TakeRig rig;
  const std::vector<TokenId> turn = Prompt(64);
  rig.Order(TakeBack(turn));
  CHECK(rig.Takes()->first() == 0);
  rig.Arrive(turn, 0);
  CHECK(rig.Released(kBack).outcome() == "done");

  rig.Order(TakeBack(turn, "", Key(2, 2)));

  CHECK(rig.Released(Key(2, 2)).outcome() == "done");
  CHECK(rig.handoff.Count("receive 2/2") == 0);
  CHECK(rig.Blocks().cached == 4);
  CHECK(rig.Blocks().used == 0);
}

TEST_CASE(
    "a transfer back that fails leaves the cache as it was, its blocks in quarantine until no write can "
    "land") {
  TakeRig rig;
  REQUIRE(rig.Complete(Key(1), Prompt(40)) == 0);
  rig.Order(TakeBack(Prompt(64)));
  const TransferEnd end = GENERATE(TransferEnd::kFailed, TransferEnd::kAborted);
  if (end == TransferEnd::kAborted) rig.Cancel(kBack);
  CHECK(rig.handoff.Count("abort_receive 1/2") == (end == TransferEnd::kAborted ? 1 : 0));

  rig.Fail(kBack, end);
  CHECK(rig.Blocks().quarantined == 2);
  CHECK_FALSE(rig.IsReleased(kBack));
  rig.OnLoop([&] { rig.handoff.Release(kBack); });

  CHECK(rig.Released(kBack).outcome() == (end == TransferEnd::kAborted ? "cancelled" : "failed"));
  CHECK(rig.Blocks().quarantined == 0);
  CHECK(rig.Blocks().cached == 2);
  CHECK(rig.Blocks().free == kBlocks - 2);
  CHECK(rig.Complete(Key(3), Prompt(70)) == 32);
}

TEST_CASE("what cannot be taken is refused, and nothing is left of it") {
  TakeRig rig(GENERATE(kBlocks, 0));
  std::vector<TokenId> turn = Prompt(64);
  SECTION("no whole blocks") {
    turn.pop_back();
  }
  SECTION("nothing") {
    turn.clear();
  }
  SECTION("no token of the vocabulary") {
    turn[3] = 1 << 20;
  }
  SECTION("more than there is") {
    turn = Prompt(kBlocks * 16 + 16);
  }
  SECTION("a peer that is not there") {
    rig.OnLoop([&] { rig.handoff.refusal = Error(kUnavailable, "no such peer"); });
  }
  rig.Order(TakeBack(turn));

  CHECK(rig.Released(kBack).outcome() == "failed");
  CHECK_FALSE(rig.Takes().has_value());
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a prompt that needs the memory ends what comes back") {
  TakeRig rig;
  rig.Order(TakeBack(Prompt(64)));
  REQUIRE(rig.handoff.Count("receive 1/2") == 1);
  rig.OnLoop([&] {
    wire::Envelope envelope;
    wire::Prefill& order = *envelope.mutable_prefill();
    order.set_request(9);
    order.set_attempt(1);
    const std::vector<TokenId> prompt = Prompt(90, 50);
    order.mutable_tokens()->Assign(prompt.begin(), prompt.end());
    order.mutable_sampling()->set_top_p(1);
    order.mutable_stop()->set_max_tokens(10);
    rig.service->OnOrder(envelope);
  });
  REQUIRE(rig.handoff.WaitFor("abort_receive 1/2"));
  rig.Order(TakeBack(Prompt(16), "", Key(3, 2)));
  CHECK(rig.Released(Key(3, 2)).error_code() == "no_memory");
  rig.Fail(kBack, TransferEnd::kAborted);
  rig.OnLoop([&] { rig.handoff.Release(kBack); });

  REQUIRE(rig.handoff.WaitFor("commit 9/1"));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(9), TransferEnd::kAcked); });
  CHECK(rig.Released(Key(9)).outcome() == "done");
}

}  // namespace
}  // namespace baton::prefill
