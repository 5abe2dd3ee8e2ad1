#include "tests/router/dispatcher_rig.h"

/// What clients see of attempts that fail: nothing, as long as another can go on.
namespace baton::router {
namespace {

constexpr RequestKey kThird{kRequest, Attempt{3}};

bool Shows(Bench& bench, std::string_view line) {
  return bench.metrics.Text().find(std::string(line) + "\n") != std::string::npos;
}

/// An answer of three tokens from the first pair, whose decode worker is lost.
void LoseDecodeAfterThree(Bench& bench, Seen& seen) {
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Token(kD, 1);
  bench.Token(kD, 2);
  bench.dispatcher->OnLost(kD);
}

TEST_CASE("row 1: an answer whose decode worker dies goes on elsewhere, after its last token") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);

  REQUIRE(bench.port.Of("prefill").size() == 2);
  const Order prefill = bench.port.Of("prefill")[1].order;
  const Sent reserve = bench.port.Of("reserve")[1];
  std::vector<TokenId> tokens(20, 5);
  tokens.insert(tokens.end(), 3, kA);
  CHECK(*prefill.tokens == tokens);
  CHECK(prefill.resumed == 3);
  CHECK(prefill.max_tokens == 10);
  CHECK(prefill.sampling.seed == 42);
  CHECK(reserve.worker == kD2);
  CHECK(*reserve.order.tokens == tokens);
  CHECK(reserve.order.resumed == 3);
  const WorkerId again = bench.port.Of("prefill")[1].worker;
  bench.clock.Advance(milliseconds(50));
  bench.Token(again, 3, "", kSecond);
  bench.Token(kD2, 3, "", kSecond);
  bench.Token(kD2, 4, "length", kSecond);

  CHECK(seen.text == "aaaaa");
  CHECK(seen.finish == "length");
  CHECK(seen.tokens == 5);
  CHECK(Shows(bench, "baton_resumed_requests_total{reason=\"worker_lost\"} 1"));
  CHECK(Shows(bench, "baton_resumed_tokens_recomputed_total 23"));
  CHECK(Shows(bench, "baton_resume_gap_seconds_sum 0.05"));
  bench.Release(kP, "cancelled");
  bench.Release(again, "done", "", kSecond);
  bench.Release(kD2, "done", "", kSecond);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("row 2: an answer whose attempts are used up ends with the error of the last") {
  const int attempts = GENERATE(1, 2);
  CAPTURE(attempts);
  Bench bench({}, {.attempts = attempts});
  bench.JoinTwoPairs();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);
  if (attempts == 2) {
    CHECK(seen.error.empty());
    bench.dispatcher->OnLost(kD2);
  }

  CHECK(seen.error == "worker_lost");
  CHECK(seen.finish.empty());
}

TEST_CASE("row 3: decode that dies with the KV, before a token of its own, costs no second first token") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Token(kD, 0);
  bench.dispatcher->OnLost(kD);

  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("cancel").at(0).worker == kP);  // what it holds for the first attempt
  bench.Token(bench.port.Of("prefill")[1].worker, 1, "", kSecond);
  bench.Token(kD2, 2, "stop", kSecond);

  CHECK(seen.text == "aa");  // the stop token is none
  CHECK(seen.finish == "stop");
  CHECK(Shows(bench, "baton_time_to_first_token_seconds_count 1"));
}

TEST_CASE("row 5: a hand-off that fails is done again, whoever reports it") {
  const WorkerId reporter = GENERATE(kP, kD);
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Release(reporter, "failed", "kv_transfer");

  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve")[1].order.resumed == 1);
  CHECK(bench.port.Of("cancel").size() == 1);
  bench.Release(reporter == kP ? kD : kP, "failed", "kv_transfer");  // on its way when it was cancelled
  CHECK(bench.port.Of("reserve").size() == 2);
  CHECK(Shows(bench, "baton_resumed_requests_total{reason=\"kv_transfer\"} 1"));
}

TEST_CASE("a prefill worker that dies before decode has a token of its own is replaced") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.dispatcher->OnLost(kP);

  CHECK(seen.error.empty());
  REQUIRE(bench.port.Of("prefill").size() == 2);
  CHECK(bench.port.Of("prefill")[1].worker == kP2);
  CHECK(bench.port.Of("prefill")[1].order.resumed == 1);
}

TEST_CASE("a prefill worker whose log-probabilities never came is missed, though decode writes") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  Job job = bench.MakeJob(seen);
  job.sampling.logprobs = 0;
  job.answer.logprobs = true;
  bench.dispatcher->Submit(std::move(job));
  bench.Token(kD, 0);  // without them
  bench.dispatcher->OnToken(kD,
                            {.key = kFirst, .index = 1, .token = kA, .finish = "", .logprobs = Logprobs{}});
  bench.dispatcher->OnLost(kP);

  REQUIRE(bench.port.Of("prefill").size() == 2);
  CHECK(bench.port.Of("prefill")[1].order.resumed == 0);
}

TEST_CASE("a sender that reports a failure after decode has written is not believed") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Token(kD, 1);
  bench.Release(kP, "failed", "kv_transfer");

  CHECK(bench.port.Of("prefill").size() == 1);
  bench.Token(kD, 2, "length");
  CHECK(seen.finish == "length");
}

TEST_CASE("an answer that has begun waits for workers, and goes on when they come") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);
  CHECK(seen.error.empty());
  CHECK(bench.port.Of("prefill").size() == 1);

  bench.Join(kD2, cluster::Phase::kDecode, {kP});
  bench.Join(kP, cluster::Phase::kPrefill, {kD2});

  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve")[1].key == kSecond);
}

TEST_CASE("an answer that is resumed comes before all that arrived after it") {
  Bench bench;
  bench.Join(kP, cluster::Phase::kPrefill, {kD, kD2});
  bench.Join(kD, cluster::Phase::kDecode, {kP}, 4);
  bench.Join(kD2, cluster::Phase::kDecode, {kP}, 2);
  Seen seen;
  Seen later;
  bench.Submit(seen);  // 2 blocks, of kD's
  bench.clock.Advance(milliseconds(1));
  bench.Submit(later, RequestId{7}, 10, 50);  // 4
  bench.Token(kP, 0);
  bench.dispatcher->OnLost(kD);

  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve")[1].key == kSecond);
  CHECK(bench.port.Of("reserve")[1].worker == kD2);
}

TEST_CASE("what only a worker that is gone could hold is told so, or waits, and holds nobody up") {
  Bench bench;
  bench.Join(kP, cluster::Phase::kPrefill, {kD, kD2});
  bench.Join(kD, cluster::Phase::kDecode, {kP}, 12);
  bench.Join(kD2, cluster::Phase::kDecode, {kP}, 2);
  Seen begun;
  Seen large;
  bench.Submit(begun, kRequest, 10, 100);  // 7 blocks, of kD's
  bench.Submit(large, RequestId{7}, 10, 100);
  bench.Token(kP, 0);
  bench.dispatcher->OnLost(kD);
  CHECK(large.error == "no_decode_workers");
  CHECK(large.status == 503);
  CHECK(begun.error.empty());

  Seen small;
  bench.Submit(small, RequestId{8});
  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve")[1].key.request == RequestId{8});
  CHECK(bench.port.Of("reserve")[1].worker == kD2);
}

TEST_CASE("an answer that waits for workers ends at its deadline, or with its client") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);
  bench.Release(kP, "cancelled");

  SECTION("the deadline") {
    bench.clock.Advance(seconds(30));
    bench.dispatcher->Tick();
    CHECK(seen.error == "deadline_exceeded");
  }
  SECTION("the client") {
    bench.dispatcher->ClientGone(kRequest);
    CHECK(seen.dropped);
  }
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("what the failed attempt still says changes nothing") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);  // and waits

  bench.Token(kP, 3);
  bench.Release(kP, "failed", "peer_lost");
  CHECK(seen.text == "aaa");
  CHECK(seen.error.empty());
  bench.Join(kD2, cluster::Phase::kDecode, {kP});
  bench.Join(kP, cluster::Phase::kPrefill, {kD2});
  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve")[1].order.resumed == 3);
}

TEST_CASE("the second failure waits a little, so that who fails is known by then") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);
  bench.Release(bench.port.Of("prefill")[1].worker, "failed", "peer_lost", kSecond);
  bench.dispatcher->Tick();
  CHECK(bench.port.Of("prefill").size() == 2);

  bench.clock.Advance(milliseconds(100));
  bench.dispatcher->Tick();
  REQUIRE(bench.port.Of("prefill").size() == 3);
  CHECK(bench.port.Of("prefill")[2].key == kThird);
}

TEST_CASE("an answer stays in the numerics class that it began in") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);

  bench.Join(kP2, cluster::Phase::kPrefill, {kD2}, 64, "other");
  bench.Join(kD2, cluster::Phase::kDecode, {kP2}, 64, "other");
  bench.dispatcher->Tick();
  CHECK(bench.port.Of("reserve").size() == 1);
  Seen fresh;
  bench.Submit(fresh, RequestId{7});
  CHECK(bench.port.Of("reserve").size() == 2);  // which it does not hold up
}

TEST_CASE("an answer of a pair of two classes goes on in any") {
  Bench bench;
  const auto takes_others = [](cluster::WorkerDescription& worker) { worker.other_classes = true; };
  bench.Join(kP, cluster::Phase::kPrefill, {kD});
  bench.Join(kD, cluster::Phase::kDecode, {kP}, 64, "other", takes_others);
  Seen seen;
  LoseDecodeAfterThree(bench, seen);

  bench.Join(kP2, cluster::Phase::kPrefill, {kD2});
  bench.Join(kD2, cluster::Phase::kDecode, {kP2}, 64, "third", takes_others);
  bench.dispatcher->Tick();
  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve")[1].worker == kD2);
}

TEST_CASE("an answer that is resumed for its last token needs no decode") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  LoseDecodeAfterThree(bench, seen);
  const std::size_t cancelled = bench.port.Of("cancel").size();

  bench.Token(bench.port.Of("prefill")[1].worker, 3, "stop", kSecond);

  CHECK(seen.finish == "stop");
  CHECK(bench.port.Of("cancel").size() == cancelled + 2);
}

TEST_CASE("a stop string is found across the failure, and nothing of it shown") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen, kRequest, 10, 20, {"aaaa"});
  bench.Token(kP, 0);
  bench.Token(kD, 1);
  bench.dispatcher->OnLost(kD);
  const WorkerId again = bench.port.Of("prefill")[1].worker;
  bench.Token(again, 2, "", kSecond);
  bench.Token(kD2, 3, "", kSecond);

  CHECK(seen.text.empty());
  CHECK(seen.finish == "stop");
  CHECK(seen.tokens == 4);
}

TEST_CASE("several answers are written again from their prompt, and each goes on where it was") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  Job job = bench.MakeJob(seen);
  job.sampling.samples = 2;
  bench.dispatcher->Submit(std::move(job));
  const auto token = [&](WorkerId worker, RequestKey key, std::int32_t sample, std::int64_t index,
                         std::string finish = "") {
    bench.dispatcher->OnToken(
        worker,
        {.key = key, .index = index, .token = kA + sample, .finish = std::move(finish), .sample = sample});
  };
  for (const std::int32_t sample : {0, 1}) token(kP, kFirst, sample, 0);
  token(kD, kFirst, 0, 1, "length");
  token(kD, kFirst, 1, 1);
  bench.dispatcher->OnLost(kD);

  REQUIRE(bench.port.Of("prefill").size() == 2);
  const Sent order = bench.port.Of("prefill")[1];
  CHECK(order.order.resumed == 0);
  CHECK(order.order.tokens->size() == 20);
  for (const std::int32_t sample : {0, 1}) token(order.worker, kSecond, sample, 0);
  for (const std::int32_t sample : {0, 1}) token(kD2, kSecond, sample, 1);
  CHECK(seen.choices == std::map<std::int32_t, std::string>{{0, "aa"}, {1, "bb"}});
  token(kD2, kSecond, 1, 2, "length");

  CHECK(seen.choices[1] == "bbb");
  CHECK(seen.ends == std::map<std::int32_t, std::string>{{0, "length"}, {1, "length"}});
  CHECK(seen.tokens == 5);
  // Decode may still be at the answer that had ended before.
  const auto cancels = bench.port.Of("cancel");
  CHECK(std::count_if(cancels.begin(), cancels.end(), [](const Sent& s) { return s.key == kSecond; }) == 2);
}

TEST_CASE("a worker that ends what it has unasked is replaced as if it had died") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.Token(kD, 1);
  bench.dispatcher->OnLeaving(kD);
  bench.Release(kD, "cancelled");

  CHECK(seen.error.empty());
  REQUIRE(bench.port.Of("reserve").size() == 2);
  CHECK(bench.port.Of("reserve")[1].worker == kD2);
}

TEST_CASE("row 15: a client that goes between the two orders' sending and the hand-off frees both sides") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.Token(kP, 0);
  bench.dispatcher->ClientGone(kRequest);  // prefill waits for a grant that may never come

  REQUIRE(bench.port.Of("cancel").size() == 2);
  bench.Release(kP, "cancelled");
  bench.Release(kD, "cancelled");
  CHECK(bench.dispatcher->Live() == 0);
  CHECK(bench.port.Of("prefill").size() == 1);
}

TEST_CASE("the first pause is none, later ones double up to a bound, and some failures are final") {
  const ResumeLimits limits{.attempts = 9};
  CHECK(PauseBeforeNext(Attempt{1}, "worker_lost", limits) == Duration(0));
  CHECK(PauseBeforeNext(Attempt{2}, "worker_lost", limits) == milliseconds(100));
  CHECK(PauseBeforeNext(Attempt{4}, "no_memory", limits) == milliseconds(400));
  CHECK(PauseBeforeNext(Attempt{8}, "kv_transfer", limits) == seconds(1));
  CHECK(PauseBeforeNext(Attempt{9}, "kv_transfer", limits) == std::nullopt);
  CHECK(PauseBeforeNext(Attempt{1}, "internal_error", limits) == std::nullopt);
  CHECK(PauseBeforeNext(Attempt{1}, "deadline", limits) == std::nullopt);
}

}  // namespace
}  // namespace baton::router
