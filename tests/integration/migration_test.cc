#include <csignal>

#include <catch2/catch.hpp>

#include "common/net/http_client.h"
#include "tests/integration/random_model.h"
#include "tests/integration/transcript.h"
#include "tests/support/shared_data.h"

/// Answers that move between decode workers while their clients read them.
namespace baton::test {
namespace {

constexpr Duration kLimit = std::chrono::seconds(90);

ClusterSettings Settings(int decodes) {
  const WorkerSettings worker{.batch_sequences = 128, .kv_memory = "256MiB"};
  return {.model = ProjectFile("deploy/demo-model"), .decodes = decodes, .prefill = worker, .decode = worker};
}

double Sum(Cluster& cluster, const char* name, const perf::Labels& labels = {}) {
  return cluster.Router().Metrics().Sum(name, labels);
}

double Moved(Cluster& cluster) {
  return Sum(cluster, "baton_migrations_total", {{"outcome", "moved"}});
}

void AwaitDecodes(Cluster& cluster, double count) {
  REQUIRE(WaitUntil(kLimit, [&] {
    return Sum(cluster, "baton_workers", {{"phase", "decode"}, {"state", "ready"}}) == count;
  }));
}

}  // namespace

TEST_CASE(
    "drain of a decode worker with 64 running requests: no error, texts of an undisturbed run, exit 0") {
  Cluster cluster(Settings(2));
  AwaitDecodes(cluster, 2);
  constexpr std::size_t kStreams = 140;  // half of them on either
  const std::vector<perf::AskOptions> requests = EveryKind(kStreams, 200);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(kStreams, 1, kLimit));
  REQUIRE(cluster.Decode(0).Metrics().Sum("baton_requests_in_flight") >= 64);
  cluster.Decode(0).Running().Signal(SIGTERM);
  CHECK(cluster.Decode(0).Running().WaitExit(kLimit) == 0);

  RequireSame(streams.Finish(), expected);
  CHECK(Moved(cluster) > 30);
  CHECK(Sum(cluster, "baton_request_errors_total") == 0);
  CHECK(Sum(cluster, "baton_resumed_requests_total") == 0);
  cluster.Decode(0).Restart();
  cluster.Decode(0).AwaitReady();
  cluster.RequireIdle();
}

TEST_CASE("kill -9 of the worker that answers move to, amid a drain: texts of an undisturbed run") {
  Cluster cluster(Settings(2));
  AwaitDecodes(cluster, 2);
  const std::vector<perf::AskOptions> requests = EveryKind(40, 400);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(requests.size(), 1, kLimit));
  cluster.Decode(0).Running().Signal(SIGTERM);
  REQUIRE(WaitUntil(kLimit, [&] { return Moved(cluster) >= 3; }));
  cluster.Decode(1).Running().Signal(SIGKILL);
  cluster.Decode(1).Restart();

  RequireSame(streams.Finish(), expected);
  CHECK(cluster.Decode(0).Running().WaitExit(kLimit) == 0);
  CHECK(Sum(cluster, "baton_request_errors_total") == 0);
  cluster.Decode(0).Restart();
  for (const std::size_t i : {0U, 1U}) cluster.Decode(i).AwaitReady();
  cluster.RequireIdle();
}

TEST_CASE("an operator asks the router to drain a worker: its answers move, and it exits with 0") {
  ClusterSettings settings = Settings(2);
  settings.router_more = "admin: {listen: \"127.0.0.1:0\"}\n";
  Cluster cluster(settings);
  AwaitDecodes(cluster, 2);
  const std::vector<perf::AskOptions> requests = EveryKind(9, 400);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);
  const auto drain = [&](const std::string& name) {
    const auto response = net::HttpClient::Request({"127.0.0.1", cluster.Router().Port("admin")}, "POST",
                                                   "/admin/drain/" + name, {}, "", std::chrono::seconds(5));
    return response.ok() ? response->status : 0;
  };

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(requests.size(), 1, kLimit));
  CHECK(drain("nobody") == 404);
  CHECK(drain("decode-0") == 200);

  CHECK(cluster.Decode(0).Running().WaitExit(kLimit) == 0);
  RequireSame(streams.Finish(), expected);
  CHECK(Moved(cluster) > 0);
  CHECK(cluster.Router().Get("/admin/drain/decode-1").status == 404);  // not for clients
}

TEST_CASE("a prompt that no decode worker has the memory for begins where an answer has moved away") {
  const RandomModel model;
  ClusterSettings settings{.model = model.Path(), .decodes = 2};
  settings.decode.kv_memory = "8MiB";  // 256 blocks
  Cluster cluster(settings);
  AwaitDecodes(cluster, 2);
  const std::vector<perf::AskOptions> answers = {LongStream(1, 16, 3000), LongStream(2, 16, 3000)};
  const std::vector<perf::AskOptions> large = {LongStream(3, 4060, 16)};  // 255 blocks
  const std::vector<Transcript> expected = Undisturbed(cluster, answers);
  const std::vector<Transcript> expected_large = Undisturbed(cluster, large);

  RecordedStreams streams(cluster, answers);
  REQUIRE(streams.Await(2, 1, kLimit));
  for (const std::size_t i : {0U, 1U})
    REQUIRE(cluster.Decode(i).Metrics().Sum("baton_requests_in_flight") == 1);
  RecordedStreams waits(cluster, large);

  RequireSame(waits.Finish(), expected_large);
  CHECK(Sum(cluster, "baton_migrations_total", {{"reason", "room"}, {"outcome", "moved"}}) == 1);
  RequireSame(streams.Finish(), expected);
  CHECK(Sum(cluster, "baton_request_errors_total") == 0);
  CHECK(Sum(cluster, "baton_resumed_requests_total") == 0);
  cluster.RequireIdle();
}

}  // namespace baton::test
