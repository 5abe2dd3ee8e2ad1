#include <csignal>

#include <catch2/catch.hpp>

#include "tests/integration/cluster.h"
#include "tests/integration/random_model.h"
#include "tests/integration/traffic.h"

namespace baton::test {
namespace {

constexpr std::size_t kStreams = 12;
constexpr Duration kLimit = std::chrono::seconds(60);

ClusterSettings Settings(const RandomModel& model, int prefills, int decodes) {
  const WorkerSettings worker{.compute = "bf16", .kv_memory = "256MiB"};
  return {
      .model = model.Path(), .prefills = prefills, .decodes = decodes, .prefill = worker, .decode = worker};
}

std::vector<perf::AskOptions> SomeStreams(std::int64_t max_tokens) {
  std::vector<perf::AskOptions> streams;
  for (std::uint64_t i = 0; i < kStreams; ++i) streams.push_back(LongStream(i + 1, 40, max_tokens));
  return streams;
}

void RequireComplete(const std::vector<perf::Answer>& answers) {
  for (const perf::Answer& answer : answers) {
    INFO(answer.Describe());
    REQUIRE(answer.Complete());
  }
}

}  // namespace

TEST_CASE("a decode worker that is asked to leave finishes what runs and exits with 0") {
  const RandomModel model;
  Cluster cluster(Settings(model, 1, 2));
  Streams streams(cluster, SomeStreams(600));
  REQUIRE(streams.Await(kStreams, 2, kLimit));

  cluster.Decode(0).Running().Signal(SIGTERM);
  REQUIRE(WaitUntil(kLimit, [&] {
    return cluster.Router().Metrics().Sum("baton_workers", {{"phase", "decode"}, {"state", "ready"}}) == 1;
  }));
  RequireComplete(AskAll(cluster, SomeStreams(8), 4));  // new ones go to the other

  RequireComplete(streams.Finish());
  CHECK(cluster.Decode(0).Running().WaitExit(kLimit) == 0);
  RequireComplete(AskAll(cluster, SomeStreams(8), 4));
}

TEST_CASE("a prefill worker that is asked to leave finishes what runs and exits with 0") {
  const RandomModel model;
  Cluster cluster(Settings(model, 1, 1));
  std::vector<perf::AskOptions> long_prompts;
  for (std::uint64_t i = 0; i < kStreams; ++i) long_prompts.push_back(LongStream(i + 1, 1500, 16));
  Streams streams(cluster, long_prompts);
  REQUIRE(streams.Await(1, 1, kLimit));

  cluster.Prefill().Running().Signal(SIGTERM);

  const std::vector<perf::Answer> answers = streams.Finish();
  std::size_t complete = 0;
  for (const perf::Answer& answer : answers) {
    INFO(answer.Describe());
    if (answer.Complete()) ++complete;
    // Those that had not reached the worker yet are refused: never a broken stream.
    CHECK((answer.Complete() || answer.status == 503));
  }
  CHECK(complete > 0);
  CHECK(cluster.Prefill().Running().WaitExit(kLimit) == 0);
}

TEST_CASE("a worker that is asked twice to leave does so at once, and says so to its streams") {
  const RandomModel model;
  ClusterSettings settings = Settings(model, 1, 1);
  settings.router_more = "resume: {attempts: 1}\n";  // else they go on elsewhere
  Cluster cluster(settings);
  Streams streams(cluster, SomeStreams(5000));
  REQUIRE(streams.Await(kStreams, 2, kLimit));

  cluster.Decode().Running().Signal(SIGTERM);
  REQUIRE(WaitUntil(kLimit, [&] { return cluster.Decode().Get("/ready").status == 503; }));
  cluster.Decode().Running().Signal(SIGTERM);

  CHECK(cluster.Decode().Running().WaitExit(std::chrono::seconds(10)) == 0);
  for (const perf::Answer& answer : streams.Finish()) {
    INFO(answer.Describe());
    CHECK(!answer.Complete());
    CHECK(!answer.error_code.empty());
    CHECK(answer.done);
  }
}

TEST_CASE("a router that is asked to leave finishes its streams, refuses new ones and exits with 0") {
  const RandomModel model;
  Cluster cluster(Settings(model, 1, 1));
  Streams streams(cluster, SomeStreams(600));
  REQUIRE(streams.Await(kStreams, 2, kLimit));

  cluster.Router().Running().Signal(SIGTERM);
  const bool refuses = WaitUntil(std::chrono::seconds(5), [&] {
    const perf::Answer answer = cluster.Ask(LongStream(99, 10, 2));
    return answer.status == 503 || answer.status == 0;  // 0: it listens no more
  });

  CHECK(refuses);
  RequireComplete(streams.Finish());
  CHECK(cluster.Router().Running().WaitExit(kLimit) == 0);
  CHECK(cluster.Decode().Running().Running());
  CHECK(cluster.Prefill().Running().Running());
}

}  // namespace baton::test
