#include <csignal>

#include <catch2/catch.hpp>

#include "tests/integration/random_model.h"
#include "tests/integration/transcript.h"
#include "tests/support/shared_data.h"

/// Workers that die or stand still amid answers which other workers go on with: rows of the fault matrix by
/// their numbers (README.md).
namespace baton::test {
namespace {

constexpr std::size_t kStreams = 20;
constexpr Duration kLimit = std::chrono::seconds(60);

double Ready(Cluster& cluster, const char* phase) {
  return cluster.Router().Metrics().Sum("baton_workers", {{"phase", phase}, {"state", "ready"}});
}

void AwaitWorkers(Cluster& cluster, const char* phase, double count) {
  REQUIRE(WaitUntil(kLimit, [&] { return Ready(cluster, phase) == count; }));
}

double Resumed(Cluster& cluster) {
  return cluster.Router().Metrics().Sum("baton_resumed_requests_total");
}

/// A killed worker's successor, so that the whole cluster can be asked whether it is idle.
void Replace(Cluster& cluster, Daemon& daemon) {
  daemon.Restart();
  daemon.AwaitReady();
  cluster.AwaitReady();
  cluster.RequireIdle();
}

/// Prompts that take a while to compute and to move, with short answers.
std::vector<perf::AskOptions> LongPrompts(std::size_t count, std::size_t seed = 1) {
  std::vector<perf::AskOptions> requests;
  for (std::size_t i = 0; i < count; ++i) requests.push_back(LongStream(seed + i, 2500, 48));
  return requests;
}

ClusterSettings RandomSettings(const RandomModel& model, int prefills, int decodes) {
  const WorkerSettings worker{.compute = "bf16", .kv_memory = "256MiB"};
  return {
      .model = model.Path(), .prefills = prefills, .decodes = decodes, .prefill = worker, .decode = worker};
}

}  // namespace

TEST_CASE("row 1: kill -9 of decode amid 20 streams: every answer is that of an undisturbed run") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model"), .decodes = 2});
  AwaitWorkers(cluster, "decode", 2);
  const std::vector<perf::AskOptions> requests = EveryKind(kStreams, 400);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(kStreams, 5, kLimit));
  cluster.Decode(0).Running().Signal(SIGKILL);

  RequireSame(streams.Finish(), expected);
  CHECK(Resumed(cluster) > 0);
  CHECK(cluster.Router().Metrics().Sum("baton_resumed_tokens_recomputed_total") > 0);
  CHECK(cluster.Router().Metrics().Sum("baton_request_errors_total") == 0);
  Replace(cluster, cluster.Decode(0));
}

TEST_CASE("row 1: each of two decode workers killed in turn, and the streams go on all the same") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model"), .decodes = 2});
  AwaitWorkers(cluster, "decode", 2);
  const std::vector<perf::AskOptions> requests = EveryKind(9, 400);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(requests.size(), 3, kLimit));
  cluster.Decode(0).Running().Signal(SIGKILL);
  cluster.Decode(0).Restart();
  AwaitWorkers(cluster, "decode", 2);
  cluster.Decode(1).Running().Signal(SIGKILL);

  RequireSame(streams.Finish(), expected);
  Replace(cluster, cluster.Decode(1));
}

TEST_CASE("row 1: the only decode worker killed and started anew: its streams wait for it, and go on") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  const std::vector<perf::AskOptions> requests = EveryKind(9, 400);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(requests.size(), 5, kLimit));
  cluster.Decode().Running().Signal(SIGKILL);
  cluster.Decode().Restart();

  RequireSame(streams.Finish(), expected);
  CHECK(Resumed(cluster) > 0);
  cluster.Decode().AwaitReady();
  cluster.RequireIdle();
}

TEST_CASE("row 3: kill -9 of decode with the KV but without a token of its own costs no second first token") {
  const RandomModel model;
  Cluster cluster(RandomSettings(model, 1, 2));
  AwaitWorkers(cluster, "decode", 2);
  perf::AskOptions request = LongPrompts(1)[0];
  const std::vector<Transcript> expected = Undisturbed(cluster, {request});
  const double first_tokens = cluster.Router().Metrics().Sum("baton_time_to_first_token_seconds_count");

  // Prefill reports the first token as it sends COMMIT. An idle cluster takes the lowest ids: decode-0 or -1,
  // whichever registered first.
  Transcript seen;
  bool killed = false;
  request.on_event = [&](std::string_view data) { seen.Take(data); };
  request.on_text = [&](std::string_view) {
    if (std::exchange(killed, true)) return true;
    for (std::size_t i : {0U, 1U}) {
      if (cluster.Decode(i).Metrics().Sum("baton_requests_in_flight") == 0) continue;
      cluster.Decode(i).Running().Signal(SIGKILL);
    }
    return true;
  };
  static_cast<void>(cluster.Ask(request));

  RequireSame({seen}, expected);
  CHECK(Resumed(cluster) == 1);
  CHECK(cluster.Router().Metrics().Sum("baton_time_to_first_token_seconds_count") == first_tokens + 1);
  CHECK(WaitUntil(kLimit, [&] { return cluster.Prefill().Metrics().Sum("baton_kv_grants") == 0; }));
}

TEST_CASE("rows 4 and 5: kill -9 of prefill amid prompts and transfers: another computes them again") {
  const bool transfers = GENERATE(false, true);
  CAPTURE(transfers);
  const RandomModel model;
  ClusterSettings settings = RandomSettings(model, 2, 1);
  // The undisturbed run must leave the prompts as long as they were: the kill is to come amid them.
  settings.prefill.kv_more = "prefix_cache: false";
  Cluster cluster(settings);
  AwaitWorkers(cluster, "prefill", 2);
  const std::vector<perf::AskOptions> requests = LongPrompts(24);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);
  const auto received = [&] {
    return cluster.Decode().Metrics().Sum("baton_kvtransfer_bytes_total", {{"direction", "received"}});
  };
  const double before = received();

  RecordedStreams streams(cluster, requests);
  REQUIRE(WaitUntil(kLimit, [&] {
    return cluster.Prefill(0).Metrics().Sum("baton_queued_prompt_tokens") > 0 &&
           (!transfers || received() > before);
  }));
  cluster.Prefill(0).Running().Signal(SIGKILL);

  RequireSame(streams.Finish(), expected);
  const perf::MetricsText metrics = cluster.Router().Metrics();
  CHECK(metrics.Sum("baton_retries_total") + metrics.Sum("baton_resumed_requests_total") > 0);
  CHECK(metrics.Sum("baton_request_errors_total") == 0);
  Replace(cluster, cluster.Prefill(0));
}

TEST_CASE("row 6: a prefill worker that comes back at the same address with a new incarnation serves") {
  const RandomModel model;
  Cluster cluster(RandomSettings(model, 1, 1));
  const std::vector<perf::AskOptions> requests = LongPrompts(4);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);
  const pid_t decode = cluster.Decode().Running().Id();

  for (std::size_t i = 0; i < 3; ++i) {
    RecordedStreams cut(cluster, LongPrompts(10, 100 * (i + 1)));  // that no cache has
    REQUIRE(WaitUntil(kLimit, [&] { return cluster.Decode().Metrics().Sum("baton_kv_grants") > 0; }));
    cluster.Prefill().Running().Signal(SIGKILL);
    cluster.Prefill().RestartAtSamePorts();
    static_cast<void>(cut.Finish());  // some are told; rows 4 and 5 have another worker
    cluster.Prefill().AwaitReady();
    cluster.AwaitReady();
    static_cast<void>(Undisturbed(cluster, requests));
  }

  RequireSame(Undisturbed(cluster, requests), expected);
  CHECK(cluster.Decode().Running().Running());
  CHECK(cluster.Decode().Running().Id() == decode);
}

TEST_CASE("row 7: a decode worker that stands still for less than worker_timeout loses nothing") {
  Cluster cluster(
      {.model = ProjectFile("deploy/demo-model"), .decodes = 2, .router_more = "worker_timeout: 60s\n"});
  AwaitWorkers(cluster, "decode", 2);
  const std::vector<perf::AskOptions> requests = EveryKind(kStreams, 400);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(kStreams, 3, kLimit));
  cluster.Decode(0).Running().Signal(SIGSTOP);
  REQUIRE(streams.Await(4, 100, kLimit));  // the other one goes on
  cluster.Decode(0).Running().Signal(SIGCONT);

  RequireSame(streams.Finish(), expected);
  CHECK(Resumed(cluster) == 0);
  cluster.RequireIdle();
}

TEST_CASE("row 7: a decode worker that stands still is given up, and what it says later is nothing") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model"), .decodes = 2});
  AwaitWorkers(cluster, "decode", 2);
  const std::vector<perf::AskOptions> requests = EveryKind(kStreams, 400);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(kStreams, 3, kLimit));
  cluster.Decode(0).Running().Signal(SIGSTOP);
  REQUIRE(WaitUntil(kLimit, [&] { return Resumed(cluster) > 0; }));
  cluster.Decode(0).Running().Signal(SIGCONT);  // and speaks while the answers go on elsewhere

  RequireSame(streams.Finish(), expected);
  AwaitWorkers(cluster, "decode", 2);
  cluster.RequireIdle();
}

TEST_CASE("row 8: a prefill worker that stands still amid prompts is given up, and holds nothing later") {
  const RandomModel model;
  ClusterSettings settings = RandomSettings(model, 2, 1);
  // The undisturbed run must leave the prompts as long as they were: the kill is to come amid them.
  settings.prefill.kv_more = "prefix_cache: false";
  Cluster cluster(settings);
  AwaitWorkers(cluster, "prefill", 2);
  const std::vector<perf::AskOptions> requests = LongPrompts(24);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(
      WaitUntil(kLimit, [&] { return cluster.Prefill(0).Metrics().Sum("baton_queued_prompt_tokens") > 0; }));
  cluster.Prefill(0).Running().Signal(SIGSTOP);

  RequireSame(streams.Finish(), expected);
  CHECK(cluster.Router().Metrics().Sum("baton_request_errors_total") == 0);
  cluster.Prefill(0).Running().Signal(SIGCONT);
  AwaitWorkers(cluster, "prefill", 2);
  cluster.RequireIdle();
}

}  // namespace baton::test
