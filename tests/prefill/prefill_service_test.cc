#include "prefill/prefill_service.h"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "tests/prefill/prefill_rig.h"

namespace baton::prefill {
namespace {

TEST_CASE("the first token goes to the router before the KV has arrived, and the end after it") {
  PrefillRig rig;
  const std::vector<TokenId> prompt = Prompt(40);

  rig.Order(Order(Key(1), prompt));
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));

  const std::vector<wire::Token> tokens = rig.Tokens(Key(1));
  REQUIRE(tokens.size() == 1);
  CHECK(tokens[0].index() == 0);
  CHECK(tokens[0].token() == Next(rig.model, prompt));
  CHECK(tokens[0].finish().empty());
  CHECK(!rig.IsReleased(Key(1)));
  CHECK(rig.Blocks().used == 3);
  rig.OnLoop([&] {
    CHECK(rig.handoff.commits[Key(1)].first_token == tokens[0].token());
    CHECK(rig.handoff.commits[Key(1)].prompt_tokens == 40);
    CHECK(rig.handoff.sends.at(Key(1)).first.receiver == WorkerId(2));
    rig.handoff.EndSend(Key(1), TransferEnd::kAcked, absl::OkStatus(), {.transport = "test", .bytes = 123});
  });
  const wire::Released released = rig.Released(Key(1));
  CHECK(released.outcome() == "done");
  CHECK(released.transfer().bytes() == 123);
  CHECK(released.transfer().transport() == "test");
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("every layer of every chunk is announced to the hand-off, after the producer's start") {
  PrefillRig rig;

  rig.Order(Order(Key(1), Prompt(40)));
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));

  CHECK(rig.handoff.calls.Get() == std::vector<std::string>{"send 1/1", "started 1/1", "layer 0 0+32 1/1",
                                                            "layer 1 0+32 1/1", "layer 0 32+8 1/1",
                                                            "layer 1 32+8 1/1", "commit 1/1"});
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAcked); });
}

TEST_CASE("an answer that ends with its first token hands nothing over") {
  PrefillRig rig;
  const std::vector<TokenId> prompt = Prompt(20);
  wire::Envelope order = Order(Key(1), prompt);
  std::string finish = "length";
  SECTION("by its length") {
    order.mutable_prefill()->mutable_stop()->set_max_tokens(1);
  }
  SECTION("by a stop token") {
    order.mutable_prefill()->mutable_stop()->add_stop_ids(Next(rig.model, prompt));
    finish = "stop";
  }

  rig.Order(order);
  REQUIRE(rig.handoff.WaitFor("abort_send 1/1"));

  CHECK(rig.Tokens(Key(1)).at(0).finish() == finish);
  CHECK(rig.handoff.Count("commit 1/1") == 0);
  CHECK(!rig.IsReleased(Key(1)));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAborted); });
  CHECK(rig.Released(Key(1)).outcome() == "done");
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a cancelled prompt keeps its blocks until both the engine and the transport have let go") {
  PrefillRig rig;
  rig.Shut();
  rig.Order(Order(Key(1), Prompt(64)));
  REQUIRE(rig.stepping.Wait());

  rig.Cancel(Key(1));
  SECTION("the transport first") {
    rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAborted); });
    CHECK(rig.Blocks().used == 4);
    rig.Open();
  }
  SECTION("the engine first") {
    rig.Open();
    // The engine releases sequences in order: once the next prompt has been committed, it holds this one no
    // more.
    rig.Order(Order(Key(2), Prompt(16)));
    REQUIRE(rig.handoff.WaitFor("commit 2/1"));
    CHECK(rig.Blocks().used == 5);
    CHECK(!rig.IsReleased(Key(1)));
    rig.OnLoop([&] { rig.handoff.EndSend(Key(2), TransferEnd::kAcked); });
    REQUIRE(rig.Released(Key(2)).outcome() == "done");
    rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAborted); });
  }

  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.handoff.Count("abort_send 1/1") == 1);
  CHECK(rig.Tokens(Key(1)).empty());
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a prompt cancelled while its KV is on the way ends cancelled") {
  PrefillRig rig;
  rig.Order(Order(Key(1), Prompt(20)));
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));

  rig.Cancel(Key(1));

  CHECK(rig.handoff.Count("abort_send 1/1") == 1);
  CHECK(!rig.IsReleased(Key(1)));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAborted); });
  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.Releases() == 1);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("prompts wait for blocks in order, and go on as blocks come free") {
  PrefillRig rig;
  rig.Order(Order(Key(1), Prompt(100)));  // 7 of 8 blocks
  rig.Order(Order(Key(2), Prompt(40)));
  rig.Order(Order(Key(3), Prompt(10)));  // would fit, but is behind
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));
  CHECK(rig.handoff.Count("send 3/1") == 0);

  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAcked); });
  REQUIRE(rig.handoff.WaitFor("commit 2/1"));
  REQUIRE(rig.handoff.WaitFor("commit 3/1"));

  rig.OnLoop([&] {
    rig.handoff.EndSend(Key(2), TransferEnd::kAcked);
    rig.handoff.EndSend(Key(3), TransferEnd::kAcked);
  });
  CHECK(rig.Released(Key(3)).outcome() == "done");
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a prompt cancelled while it waits for blocks ends at once") {
  PrefillRig rig;
  rig.Order(Order(Key(1), Prompt(128)));
  rig.Order(Order(Key(2), Prompt(40)));

  rig.Cancel(Key(2));

  CHECK(rig.Released(Key(2)).outcome() == "cancelled");
  CHECK(rig.handoff.Count("send 2/1") == 0);
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAcked); });
  CHECK(rig.Released(Key(1)).outcome() == "done");
}

TEST_CASE("prompts past the queue's bound, and larger than the memory, are refused") {
  PrefillRig rig(/*queue=*/1);
  rig.Order(Order(Key(1), Prompt(128)));
  rig.Order(Order(Key(2), Prompt(16)));  // waits

  rig.Order(Order(Key(3), Prompt(16)));
  CHECK(rig.Released(Key(3)).error_code() == "no_memory");
  rig.Cancel(Key(2));
  rig.Order(Order(Key(4), Prompt(129)));
  CHECK(rig.Released(Key(4)).error_code() == "no_memory");
  CHECK(rig.InFlight() == 1);
}

TEST_CASE("a prompt that the model cannot read is refused and holds nothing") {
  PrefillRig rig;
  wire::Envelope order = Order(Key(1), Prompt(16));
  SECTION("empty") {
    order.mutable_prefill()->clear_tokens();
  }
  SECTION("an id past the vocabulary") {
    order.mutable_prefill()->set_tokens(3, 97);
  }
  SECTION("a negative id") {
    order.mutable_prefill()->set_tokens(3, -1);
  }
  SECTION("no answer wanted") {
    order.mutable_prefill()->mutable_stop()->set_max_tokens(0);
  }
  SECTION("an answer beyond the context") {
    order.mutable_prefill()->mutable_stop()->set_max_tokens(std::numeric_limits<std::int64_t>::max());
  }
  SECTION("a temperature that is no number") {
    order.mutable_prefill()->mutable_sampling()->set_temperature(NAN);
  }

  rig.Order(order);

  CHECK(rig.Released(Key(1)).outcome() == "failed");
  CHECK(rig.Released(Key(1)).error_code() == "internal");
  CHECK(rig.handoff.calls.Get().empty());
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a hand-off that fails names its cause") {
  PrefillRig rig;
  rig.Order(Order(Key(1), Prompt(20)));
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));
  TransferEnd end = TransferEnd::kFailed;
  absl::Status status = Error(kUnavailable, "the peer is gone");
  std::string code = "peer_lost";
  SECTION("a lost peer") {}
  SECTION("a wrong checksum") {
    status = Error(kDataLoss, "checksum");
    code = "kv_transfer";
  }
  SECTION("a deadline") {
    end = TransferEnd::kExpired;
    status = Error(kDeadlineExceeded, "late");
    code = "kv_transfer";  // not the request's own: that may be placed again
  }

  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), end, status); });

  CHECK(rig.Released(Key(1)).outcome() == "failed");
  CHECK(rig.Released(Key(1)).error_code() == code);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("an answer that an earlier attempt began goes on with the token that comes next") {
  PrefillRig rig;
  const std::vector<TokenId> prompt = Prompt(40);
  wire::Envelope order = Order(Key(1, 2), prompt, 10);
  order.mutable_prefill()->set_resumed(9);
  std::string finish = "length";
  SECTION("its last") {}
  SECTION("with more to come") {
    order.mutable_prefill()->set_resumed(8);
    finish = "";
  }

  rig.Order(order);

  REQUIRE(rig.WaitForTokens(Key(1, 2), 1));
  const wire::Token token = rig.Tokens(Key(1, 2)).at(0);
  CHECK(token.index() == order.prefill().resumed());
  CHECK(token.token() == Next(rig.model, prompt));
  CHECK(token.finish() == finish);
  REQUIRE(rig.handoff.WaitFor(finish.empty() ? "commit 1/2" : "abort_send 1/2"));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1, 2), TransferEnd::kAcked); });
  CHECK(rig.Released(Key(1, 2)).outcome() == "done");
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a transfer that fails early stops the computation") {
  PrefillRig rig;
  rig.Shut();
  rig.Order(Order(Key(1), Prompt(64)));
  REQUIRE(rig.stepping.Wait());

  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kFailed, Error(kUnavailable, "gone")); });
  CHECK(!rig.IsReleased(Key(1)));  // the engine still writes into its blocks
  rig.Open();

  CHECK(rig.Released(Key(1)).error_code() == "peer_lost");
  CHECK(rig.Tokens(Key(1)).empty());
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a hand-off that does not begin fails the order, however many wait behind it") {
  PrefillRig rig;
  rig.Order(Order(Key(1), Prompt(128)));
  for (std::uint64_t id = 2; id <= 6; ++id) rig.Order(Order(Key(id), Prompt(16)));
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));

  rig.OnLoop([&] {
    rig.handoff.refusal = Error(kUnavailable, "worker 2 is not connected");
    rig.handoff.EndSend(Key(1), TransferEnd::kFailed, Error(kUnavailable, "gone"));
  });

  for (std::uint64_t id = 1; id <= 6; ++id) CHECK(rig.Released(Key(id)).error_code() == "peer_lost");
  CHECK(rig.Releases() == 6);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a new attempt ends the one before it, and an older one does not begin") {
  PrefillRig rig;
  rig.Order(Order(Key(1, 1), Prompt(20)));
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));

  rig.Order(Order(Key(1, 3), Prompt(20)));
  rig.Order(Order(Key(1, 2), Prompt(20)));

  CHECK(rig.Released(Key(1, 2)).outcome() == "cancelled");
  CHECK(rig.handoff.Count("send 1/2") == 0);
  CHECK(rig.handoff.Count("abort_send 1/1") == 1);
  REQUIRE(rig.handoff.WaitFor("commit 1/3"));
  rig.OnLoop([&] {
    rig.handoff.EndSend(Key(1, 1), TransferEnd::kAborted);
    rig.handoff.EndSend(Key(1, 3), TransferEnd::kAcked);
  });
  CHECK(rig.Released(Key(1, 1)).outcome() == "cancelled");
  CHECK(rig.Released(Key(1, 3)).outcome() == "done");
}

TEST_CASE("a Cancel that comes before its order is remembered") {
  PrefillRig rig;

  rig.Cancel(Key(1, 2));
  rig.Order(Order(Key(1, 2), Prompt(20)));

  CHECK(rig.Released(Key(1, 2)).outcome() == "cancelled");
  CHECK(rig.handoff.calls.Get().empty());
  rig.Order(Order(Key(1, 3), Prompt(20)));
  REQUIRE(rig.handoff.WaitFor("commit 1/3"));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1, 3), TransferEnd::kAcked); });
}

TEST_CASE("an order that waits past its deadline ends with it") {
  PrefillRig rig;
  rig.Order(Order(Key(1), Prompt(128)));
  wire::Envelope late = Order(Key(2), Prompt(16));
  late.mutable_prefill()->set_deadline_ms(1);

  rig.Order(late);

  CHECK(rig.Released(Key(2)).error_code() == "deadline");
  CHECK(rig.InFlight() == 1);
}

TEST_CASE("when the router is lost everything ends, and nothing that waited begins") {
  PrefillRig rig;
  rig.Order(Order(Key(1), Prompt(128)));
  for (std::uint64_t id = 2; id <= 5; ++id) rig.Order(Order(Key(id), Prompt(30)));
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));

  rig.OnLoop([&] {
    rig.service->CancelAll();
    rig.handoff.EndSend(Key(1), TransferEnd::kAborted);
  });

  for (std::uint64_t id = 1; id <= 5; ++id) CHECK(rig.Released(Key(id)).outcome() == "cancelled");
  CHECK(rig.handoff.Count("send 2/1") == 0);
  CHECK(rig.InFlight() == 0);
  CHECK(rig.Blocks().free == kBlocks);
}

TEST_CASE("a prompt that begins like an earlier one computes the rest only, and hands all of it over") {
  PrefillRig rig(8, kBlocks);
  std::vector<TokenId> prompt = Prompt(40);
  const wire::Token cold = rig.Complete(Key(1), Order(Key(1), prompt));

  const wire::Token warm = rig.Complete(Key(2), Order(Key(2), prompt));

  CHECK(cold.cached_tokens() == 0);
  CHECK(warm.cached_tokens() == 32);
  CHECK(warm.token() == cold.token());
  const std::vector<std::string> calls = rig.handoff.calls.Get();
  CHECK(std::vector(calls.begin() + 7, calls.end()) ==
        std::vector<std::string>{"send 2/1", "layer 0 0+32 2/1", "layer 1 0+32 2/1", "started 2/1",
                                 "layer 0 32+8 2/1", "layer 1 32+8 2/1", "commit 2/1"});
  rig.OnLoop([&] {
    CHECK(rig.handoff.commits[Key(1)].cached_tokens == 0);
    CHECK(rig.handoff.commits[Key(2)].cached_tokens == 32);
  });
  prompt[20] = 96;  // in the second block
  const wire::Token other = rig.Complete(Key(3), Order(Key(3), prompt));
  CHECK(other.cached_tokens() == 16);
  CHECK(other.token() == Next(rig.model, prompt));
  CHECK(rig.Blocks().used == 0);
  CHECK(rig.Blocks().cached == 3);
}

TEST_CASE("a prompt under another salt shares nothing") {
  PrefillRig rig(8, kBlocks);
  wire::Envelope alice = Order(Key(1), Prompt(40));
  alice.mutable_prefill()->set_cache_salt("alice");
  wire::Envelope bob = Order(Key(2), Prompt(40));
  bob.mutable_prefill()->set_cache_salt("bob");
  wire::Envelope again = Order(Key(3), Prompt(40));
  again.mutable_prefill()->set_cache_salt("alice");

  CHECK(rig.Complete(Key(1), alice).cached_tokens() == 0);
  CHECK(rig.Complete(Key(2), bob).cached_tokens() == 0);
  CHECK(rig.Complete(Key(3), again).cached_tokens() == 32);
}

TEST_CASE("what the cache holds makes room for prompts that need it") {
  PrefillRig rig(8, kBlocks);
  static_cast<void>(rig.Complete(Key(1), Order(Key(1), Prompt(112))));
  REQUIRE(rig.Blocks().cached == 7);

  CHECK(rig.Complete(Key(2), Order(Key(2), Prompt(128, 50))).cached_tokens() == 0);

  CHECK(rig.Blocks().used == 0);
  CHECK(rig.Blocks().cached == kBlocks);
}

TEST_CASE("of a prompt that is cancelled, what was computed is kept, and nothing else") {
  PrefillRig rig(8, kBlocks);
  rig.Shut();
  rig.Order(Order(Key(1), Prompt(64)));
  REQUIRE(rig.stepping.Wait());
  rig.Cancel(Key(1));
  rig.OnLoop([&] { rig.handoff.EndSend(Key(1), TransferEnd::kAborted); });
  rig.Open();

  CHECK(rig.Released(Key(1)).outcome() == "cancelled");
  CHECK(rig.Blocks().cached == 2);  // one chunk
  CHECK(rig.Blocks().free == kBlocks - 2);
}

TEST_CASE("one prefill draws the first token of each answer, and hands over the KV once for all") {
  PrefillRig rig;
  const std::vector<TokenId> prompt = Prompt(40);
  wire::Envelope order = Order(Key(1), prompt);
  wire::Sampling& sampling = *order.mutable_prefill()->mutable_sampling();
  sampling.set_temperature(1.5);
  sampling.set_seed(9);
  sampling.set_samples(4);
  sampling.set_logprobs(true);
  sampling.set_top_logprobs(2);

  rig.Order(order);
  REQUIRE(rig.handoff.WaitFor("commit 1/1"));

  const std::vector<wire::Token> tokens = rig.Tokens(Key(1));
  REQUIRE(tokens.size() == 4);
  engine::Sampler sampler(rig.model.Config().vocabulary);
  const std::vector<float> logits = rig.model.PlainLogits(prompt);
  std::vector<TokenId> first;
  for (std::int32_t sample = 0; sample < 4; ++sample) {
    const wire::Token& token = tokens[static_cast<std::size_t>(sample)];
    CHECK(token.sample() == sample);
    CHECK(token.index() == 0);
    CHECK(token.token() == sampler.Sample(logits, {.temperature = 1.5, .seed = 9}, 40, {.sample = sample}));
    CHECK(token.logprobs().chosen() == engine::LogprobsOf(logits, token.token(), 0).chosen);
    CHECK(token.logprobs().tokens_size() == 2);
    CHECK(token.logprobs().logprobs_size() == 2);
    first.push_back(token.token());
  }
  rig.OnLoop([&] {
    const kvtransfer::CommitInfo& commit = rig.handoff.commits[Key(1)];
    CHECK(commit.first_token == first[0]);
    CHECK(commit.computed_at.has_value());
    CHECK(commit.more_first_tokens == std::vector<TokenId>(first.begin() + 1, first.end()));
    CHECK(rig.handoff.sends.size() == 1);
    rig.handoff.EndSend(Key(1), TransferEnd::kAcked);
  });
  CHECK(rig.Released(Key(1)).outcome() == "done");
  CHECK(rig.Blocks().used == 0);
}

TEST_CASE(
    "a prompt's log-probabilities come before its first token, and none of it is taken from the cache") {
  PrefillRig rig(8, /*prefix_blocks=*/kBlocks);
  const std::vector<TokenId> prompt = Prompt(50);
  CHECK(rig.Complete(Key(1), Order(Key(1), prompt)).cached_tokens() == 0);
  CHECK(rig.Complete(Key(2), Order(Key(2), prompt)).cached_tokens() == 48);
  wire::Envelope order = Order(Key(3), prompt);
  wire::Sampling& sampling = *order.mutable_prefill()->mutable_sampling();
  sampling.set_logprobs(true);
  sampling.set_top_logprobs(1);
  sampling.set_prompt_logprobs(true);

  CHECK(rig.Complete(Key(3), order).cached_tokens() == 0);

  std::int64_t next = 1;
  bool token = false;
  for (const wire::Envelope& envelope : rig.sent.Get()) {
    token |= envelope.has_token() && envelope.token().request() == 3;
    if (!envelope.has_prompt_logprobs()) continue;
    const wire::PromptLogprobs& some = envelope.prompt_logprobs();
    CHECK(some.request() == 3);
    CHECK(some.first() == next);
    CHECK_FALSE(token);
    for (const wire::Logprobs& logprobs : some.logprobs()) {
      const std::vector<TokenId> before(prompt.begin(), prompt.begin() + next);
      const engine::Logprobs wanted =
          engine::LogprobsOf(rig.model.PlainLogits(before), prompt[static_cast<std::size_t>(next)], 1);
      REQUIRE(logprobs.chosen() == wanted.chosen);
      REQUIRE(logprobs.tokens_size() == 1);
      REQUIRE(logprobs.tokens(0) == wanted.top[0].token);
      ++next;
    }
  }
  CHECK(next == 50);
  // The cache still has the blocks of the first, and the second is not in it twice.
  CHECK(rig.Blocks().cached == 3);
  CHECK(rig.Blocks().used == 0);
}

}  // namespace
}  // namespace baton::prefill
