// Prompts that come again, and several answers to one.
#include "tests/router/dispatcher_rig.h"

namespace baton::router {
namespace {

TEST_CASE("a prompt that comes again goes to the prefill worker that has computed it") {
  Bench bench;
  bench.JoinTwoPairs();
  std::vector<Seen> seen(5);
  const auto submit = [&](std::size_t at, const std::vector<std::uint64_t>& prefixes) {
    bench.Submit(seen[at], RequestId{at + 1}, 1, 40, {}, prefixes);
    return bench.port.Of("prefill").back();
  };
  const auto finish = [&](std::size_t at, WorkerId prefill) {
    bench.Token(prefill, 0, "length", {RequestId{at + 1}, Attempt{1}});
  };
  REQUIRE(submit(0, {1, 2}).worker == kP);
  REQUIRE(submit(1, {10, 20}).worker == kP2);  // the other one is busy
  finish(0, kP);
  finish(1, kP2);

  const Sent again = submit(2, {10, 20});
  CHECK(again.worker == kP2);
  CHECK(again.order.cache_salt == "salt");
  finish(2, kP2);

  bench.dispatcher->OnLost(kP2);
  bench.Join(kP2, cluster::Phase::kPrefill, {kD, kD2});
  CHECK(submit(3, {10, 20}).worker == kP);  // what it held went with it
}

TEST_CASE("the client hears how much of its prompt was found, whichever worker reports first") {
  for (const WorkerId first : {kP, kD}) {
    Bench bench;
    bench.JoinPair();
    Seen seen;
    bench.Submit(seen, kRequest, 2);

    bench.dispatcher->OnToken(first,
                              {.key = kFirst, .index = 0, .token = kA, .finish = "", .cached_tokens = 16});
    bench.Token(kD, 1, "length");

    CHECK(seen.finish == "length");
    CHECK(seen.cached == 16);
  }
}

TEST_CASE("several answers count the ends of blocks as large as the decode workers have") {
  const std::int64_t blocks = GENERATE(5, 6);
  Bench bench;
  bench.Join(kP, cluster::Phase::kPrefill, {kD});
  bench.Join(kD, cluster::Phase::kDecode, {kP}, blocks, "c",
             [](cluster::WorkerDescription& worker) { worker.block_tokens = 64; });
  Seen seen;
  Job job = bench.MakeJob(seen);
  job.prompt = std::make_shared<const std::vector<TokenId>>(60, 5);
  job.sampling.samples = 3;  // two blocks each: they share no full one
  bench.dispatcher->Submit(std::move(job));

  CHECK(bench.port.Of("reserve").size() == (blocks == 6 ? 1 : 0));
  CHECK(seen.status == (blocks == 6 ? 0 : 400));
}

TEST_CASE("several answers are placed once, told apart, and end the request together") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  Job job;
  job.id = kRequest;
  job.prompt = std::make_shared<const std::vector<TokenId>>(20, 5);
  job.max_tokens = 3;
  job.sampling.samples = 3;
  job.answer.tokens_max = 3;
  job.answer.stop = {"ab"};
  job.deadline = bench.clock.Now() + seconds(30);
  job.sink = std::make_unique<FakeSink>(seen);
  bench.dispatcher->Submit(std::move(job));
  REQUIRE(bench.port.Of("prefill").size() == 1);
  CHECK(bench.port.Of("prefill")[0].order.sampling.samples == 3);

  const auto token = [&](WorkerId worker, std::int32_t sample, std::int64_t index, TokenId id,
                         std::string finish) {
    bench.dispatcher->OnToken(
        worker, {.key = kFirst, .index = index, .token = id, .finish = std::move(finish), .sample = sample});
  };
  for (std::int32_t sample = 0; sample < 3; ++sample) token(kP, sample, 0, kA + sample, "");
  for (std::int32_t sample = 0; sample < 3; ++sample) token(kD, sample, 0, kA + sample, "");
  CHECK(seen.tokens == 3);
  token(kD, 2, 1, kA, "stop");
  CHECK(seen.ends == std::map<std::int32_t, std::string>{{2, "stop"}});
  CHECK(bench.port.Of("stop_sample").empty());
  token(kD, 0, 1, kA + 1, "");  // "ab": the router's own end
  CHECK(seen.ends[0] == "stop");
  CHECK(bench.port.Of("cancel").empty());
  REQUIRE(bench.port.Of("stop_sample").size() == 1);
  CHECK(bench.port.Of("stop_sample")[0].worker == kD);
  CHECK(bench.port.Of("stop_sample")[0].key == kFirst);
  CHECK(bench.port.Of("stop_sample")[0].sample == 0);
  token(kD, 1, 1, kA, "");
  token(kD, 1, 2, kA, "length");
  CHECK(seen.ends[1] == "length");
  CHECK(seen.choices[1] == "baa");
  CHECK(seen.choices[2] == "c");
  CHECK(seen.tokens == 7);
  // Decode may not have heard yet.
  CHECK(bench.port.Of("cancel").size() == 2);
  bench.Release(kP);
  bench.Release(kD);
  CHECK(bench.dispatcher->Live() == 0);
}

TEST_CASE("answers that have ended are not written again by the next attempt") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  Job job = bench.MakeJob(seen);
  job.sampling.samples = 2;
  job.answer.stop = {"aa"};
  bench.dispatcher->Submit(std::move(job));
  const Sent first = bench.port.Of("reserve").at(0);
  const WorkerId prefill = bench.port.Of("prefill").at(0).worker;
  for (const std::int32_t sample : {0, 1}) {
    bench.dispatcher->OnToken(
        prefill, {.key = kFirst, .index = 0, .token = kA + sample, .finish = "", .sample = sample});
  }
  bench.dispatcher->OnToken(first.worker,
                            {.key = kFirst, .index = 1, .token = kA, .finish = "", .sample = 0});
  CHECK(seen.ends == std::map<std::int32_t, std::string>{{0, "stop"}});
  REQUIRE(bench.port.Of("stop_sample").size() == 1);
  bench.dispatcher->OnLost(first.worker);

  REQUIRE(bench.port.Of("reserve").size() == 2);
  const Sent again = bench.port.Of("stop_sample").back();
  CHECK(bench.port.Of("stop_sample").size() == 2);
  CHECK(again.worker == bench.port.Of("reserve")[1].worker);
  CHECK(again.key == kSecond);
  CHECK(again.sample == 0);
}

TEST_CASE("a token of an answer that nobody asked for fails the request") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.Submit(seen);
  bench.dispatcher->OnToken(kP, {.key = kFirst, .index = 0, .token = kA, .finish = "", .sample = 1});
  CHECK(seen.error == "internal_error");
}

/// A job whose prompt of 20 tokens is echoed and judged.
Job Judged(Bench& bench, Seen& seen, std::int32_t choices = 1) {
  Job job = bench.MakeJob(seen);
  job.sampling.samples = choices;
  job.sampling.logprobs = 1;
  job.sampling.prompt_logprobs = true;
  job.answer.logprobs = true;
  job.answer.prefix = "echo";
  return job;
}

void Judge(Bench& bench, WorkerId worker, std::int64_t first, std::size_t count, RequestKey key = kFirst) {
  bench.dispatcher->OnPromptLogprobs(
      worker, {.key = key, .first = first, .logprobs = std::vector<Logprobs>(count, Logprobs{-1, {}})});
}

void JudgedToken(Bench& bench, WorkerId worker, std::int64_t index, RequestKey key = kFirst,
                 std::string finish = "", std::int32_t sample = 0) {
  bench.dispatcher->OnToken(worker, {.key = key,
                                     .index = index,
                                     .token = kA,
                                     .finish = std::move(finish),
                                     .sample = sample,
                                     .logprobs = Logprobs{-1, {}}});
}

TEST_CASE("a prompt's log-probabilities reach every choice, with its echo") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  bench.dispatcher->Submit(Judged(bench, seen, 2));
  CHECK(bench.port.Of("prefill").at(0).order.sampling.prompt_logprobs);
  Judge(bench, kP, 1, 12);
  JudgedToken(bench, kD, 1);  // another connection: it may overtake what prefill says
  Judge(bench, kP, 13, 7);
  CHECK(seen.text.empty());
  JudgedToken(bench, kP, 0);
  CHECK(seen.text == "echoaa");
  CHECK(seen.logprobs == 20 + 2);
  JudgedToken(bench, kP, 0, kFirst, "", 1);
  CHECK(seen.choices[1] == "echoa");
  CHECK(seen.logprobs == 40 + 3);
  CHECK(seen.error.empty());
}

TEST_CASE("a prompt of one token has nothing to wait for") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  Job job = Judged(bench, seen);
  job.prompt = std::make_shared<const std::vector<TokenId>>(1, 5);
  bench.dispatcher->Submit(std::move(job));
  JudgedToken(bench, kP, 0);
  CHECK(seen.text == "echoa");
  CHECK(seen.logprobs == 1 + 1);
}

TEST_CASE("log-probabilities out of order, missing or unasked for end the request") {
  Bench bench;
  bench.JoinPair();
  Seen seen;
  SECTION("out of order") {
    bench.dispatcher->Submit(Judged(bench, seen));
    Judge(bench, kP, 2, 3);
  }
  SECTION("more than the prompt has") {
    bench.dispatcher->Submit(Judged(bench, seen));
    Judge(bench, kP, 1, 20);
  }
  SECTION("a token first") {
    bench.dispatcher->Submit(Judged(bench, seen));
    Judge(bench, kP, 1, 18);
    JudgedToken(bench, kP, 0);
  }
  SECTION("nobody asked") {
    bench.Submit(seen);
    Judge(bench, kP, 1, 1);
  }
  CHECK(seen.error == "internal_error");
}

TEST_CASE("a new attempt is asked for a prompt's log-probabilities where the last one did not say all") {
  Bench bench;
  bench.JoinTwoPairs();
  Seen seen;
  bench.dispatcher->Submit(Judged(bench, seen));
  const WorkerId first = bench.port.Of("prefill").at(0).worker;
  const WorkerId second = first == kP ? kP2 : kP;
  const bool all = GENERATE(false, true);
  CAPTURE(all);
  Judge(bench, first, 1, all ? 19 : 12);
  if (all) JudgedToken(bench, first, 0);
  bench.dispatcher->OnLost(first);
  const Sent again = bench.port.Of("prefill").back();
  REQUIRE(again.worker == second);
  CHECK(again.order.sampling.prompt_logprobs != all);
  if (!all) Judge(bench, second, 1, 19, kSecond);
  JudgedToken(bench, second, all ? 1 : 0, kSecond, "length");
  CHECK(seen.finish == "length");
  CHECK(seen.text == (all ? "echoaa" : "echoa"));
  CHECK(seen.logprobs == (all ? 22 : 21));
  CHECK(seen.error.empty());
}

}  // namespace
}  // namespace baton::router
