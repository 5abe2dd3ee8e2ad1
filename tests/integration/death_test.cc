#include <csignal>

#include <catch2/catch.hpp>

#include "tests/integration/cluster.h"
#include "tests/integration/random_model.h"
#include "tests/integration/traffic.h"

/// What clients are told where nothing is resumed: row 2 of the fault matrix. `resume_test.cc` has the
/// others.
namespace baton::test {
namespace {

constexpr std::size_t kStreams = 20;
constexpr Duration kNotice = std::chrono::seconds(2);  // within which every client is told
constexpr Duration kBegin = std::chrono::seconds(60);

ClusterSettings Settings(const RandomModel& model, int decodes) {
  const WorkerSettings worker{.compute = "bf16", .kv_memory = "256MiB"};
  return {.model = model.Path(),
          .prefills = 1,
          .decodes = decodes,
          .prefill = worker,
          .decode = worker,
          .router_more = "resume: {attempts: 1}\n"};
}

std::vector<perf::AskOptions> TwentyStreams(std::int64_t prompt_tokens, std::int64_t max_tokens) {
  std::vector<perf::AskOptions> streams;
  for (std::uint64_t i = 0; i < kStreams; ++i)
    streams.push_back(LongStream(i + 1, prompt_tokens, max_tokens));
  return streams;
}

struct Told {
  std::size_t complete = 0;
  std::size_t failed = 0;
};

/// Each answer is whole, or says that it is not: as an error event and [DONE], or as an error status where
/// nothing had been sent. No failure is told later than `limit` after `since`.
Told CountTold(const std::vector<perf::Answer>& answers, TimePoint since, Duration limit) {
  Told told;
  for (const perf::Answer& answer : answers) {
    INFO(answer.Describe());
    if (answer.Complete()) {
      ++told.complete;
      continue;
    }
    ++told.failed;
    CHECK(answer.transport_error.empty());
    CHECK(answer.framing_error.empty());
    CHECK(!answer.error_code.empty());
    CHECK(answer.finish_events == 0);
    CHECK((answer.status >= 500 || (answer.status == 200 && answer.done)));
    CHECK(answer.ended - since <= limit);
  }
  return told;
}

void RequireServes(const Cluster& cluster, std::uint64_t seed) {
  const perf::Answer answer = cluster.Ask(LongStream(seed, 50, 8));
  INFO(answer.Describe());
  REQUIRE(answer.Complete());
}

double Ready(Cluster& cluster, const char* phase) {
  return cluster.Router().Metrics().Sum("baton_workers", {{"phase", phase}, {"state", "ready"}});
}

}  // namespace

TEST_CASE("row 2: when a decode worker is killed its streams are told, and the others go on") {
  const RandomModel model;
  Cluster cluster(Settings(model, 2));
  REQUIRE(WaitUntil(kBegin, [&] { return Ready(cluster, "decode") == 2; }));
  Streams streams(cluster, TwentyStreams(30, 1500));
  REQUIRE(streams.Await(kStreams, 3, kBegin));

  const TimePoint killed = std::chrono::steady_clock::now();
  cluster.Decode(0).Running().Signal(SIGKILL);
  const std::vector<perf::Answer> answers = streams.Finish();

  const Told told = CountTold(answers, killed, kNotice);
  CHECK(told.failed > 0);
  CHECK(told.complete > 0);
  for (const perf::Answer& answer : answers) {
    if (!answer.Complete()) CHECK(answer.error_code == "worker_lost");
  }
  RequireServes(cluster, 77);

  cluster.Decode(0).Restart();
  cluster.Decode(0).AwaitReady();
  REQUIRE(WaitUntil(kBegin, [&] { return Ready(cluster, "decode") == 2; }));
  cluster.RequireIdle();
  const auto served = AskAll(cluster, TwentyStreams(30, 8), kStreams);
  CHECK(CountTold(served, killed, kNotice).complete == kStreams);
  CHECK(cluster.Decode(0).Metrics().Sum("baton_kvtransfer_bytes_total", {{"direction", "received"}}) > 0);
}

TEST_CASE("row 2: when the only decode worker is killed all its streams are told, and its successor serves") {
  const RandomModel model;
  Cluster cluster(Settings(model, 1));
  Streams streams(cluster, TwentyStreams(30, 3000));
  REQUIRE(streams.Await(kStreams, 3, kBegin));

  const TimePoint killed = std::chrono::steady_clock::now();
  cluster.Decode().Running().Signal(SIGKILL);
  const Told told = CountTold(streams.Finish(), killed, kNotice);

  CHECK(told.failed == kStreams);
  CHECK(cluster.Router().Get("/health").status == 200);
  CHECK(cluster.Router().Get("/ready").status == 503);
  CHECK(cluster.Prefill().Running().Running());
  cluster.Decode().Restart();
  cluster.AwaitReady();
  RequireServes(cluster, 78);
  cluster.RequireIdle();
}

TEST_CASE("when the prefill worker is killed each stream ends or is told, and its successor serves") {
  const RandomModel model;
  Cluster cluster(Settings(model, 1));
  Streams streams(cluster, TwentyStreams(3000, 64));
  REQUIRE(streams.Await(2, 1, kBegin));

  const TimePoint killed = std::chrono::steady_clock::now();
  cluster.Prefill().Running().Signal(SIGKILL);
  const Told told = CountTold(streams.Finish(), killed, kNotice);

  CHECK(told.failed > 0);  // prompts are read one after the other: most were still waiting
  CHECK(cluster.Router().Get("/health").status == 200);
  CHECK(cluster.Decode().Running().Running());
  cluster.Prefill().Restart();
  cluster.AwaitReady();
  RequireServes(cluster, 79);
  cluster.RequireIdle();
}

TEST_CASE("a decode worker that stops answering is given up, and serves again when it goes on") {
  const RandomModel model;
  Cluster cluster(Settings(model, 1));
  Streams streams(cluster, TwentyStreams(30, 3000));
  REQUIRE(streams.Await(kStreams, 3, kBegin));

  const TimePoint stopped = std::chrono::steady_clock::now();
  cluster.Decode().Running().Signal(SIGSTOP);
  // Silence is noticed after worker_timeout, 2 s; the rest is a busy machine's.
  const Told told = CountTold(streams.Finish(), stopped, 2 * kNotice);
  cluster.Decode().Running().Signal(SIGCONT);

  CHECK(told.failed == kStreams);
  REQUIRE(WaitUntil(kBegin, [&] { return cluster.Router().Get("/ready").status == 200; }));
  RequireServes(cluster, 80);
  cluster.RequireIdle();
}

TEST_CASE("workers outlive their router and serve the next one") {
  const RandomModel model;
  Cluster cluster(Settings(model, 1));
  Streams streams(cluster, TwentyStreams(30, 3000));
  REQUIRE(streams.Await(kStreams, 3, kBegin));

  cluster.Router().Running().Signal(SIGKILL);
  for (const perf::Answer& answer : streams.Finish()) CHECK(!answer.Complete());

  const auto idle = [](Daemon& worker) { return worker.Metrics().Sum("baton_requests_in_flight") == 0; };
  CHECK(
      WaitUntil(std::chrono::seconds(10), [&] { return idle(cluster.Prefill()) && idle(cluster.Decode()); }));
  cluster.RestartRouter();
  cluster.AwaitReady();
  RequireServes(cluster, 81);
  cluster.RequireIdle();
}

}  // namespace baton::test
