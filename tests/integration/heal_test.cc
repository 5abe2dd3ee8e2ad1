#include <csignal>

#include <iostream>

#include <catch2/catch.hpp>

#include "tests/integration/transcript.h"
#include "tests/support/shared_data.h"

/// A side that is killed under load and started again: how long until the cluster works again, with the new
/// process. The test's limit is generous; what it measures is printed (perf/results/healing.md).
namespace baton::test {
namespace {

constexpr Duration kLimit = std::chrono::seconds(60);
constexpr int kRounds = 3;

/// Asks until an answer is whole; its time since `restarted`.
Duration AwaitAnswer(Cluster& cluster, TimePoint restarted) {
  bool healed = false;
  TimePoint at{};
  const bool in_time = WaitUntil(kLimit, [&] {
    const perf::Answer answer = cluster.Ask(LongStream(99, 20, 4));
    healed = answer.Complete();
    at = answer.ended;
    return healed;
  });
  REQUIRE(in_time);
  return at - restarted;
}

/// Kills and restarts under nine streams; they go on where they can.
void RequireHeals(const char* side, Cluster& cluster, Daemon& daemon, bool streams_survive) {
  const std::vector<perf::AskOptions> requests = EveryKind(9, 300);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);
  for (int round = 0; round < kRounds; ++round) {
    RecordedStreams streams(cluster, requests);
    REQUIRE(streams.Await(requests.size(), 5, kLimit));
    daemon.Running().Signal(SIGKILL);
    const TimePoint restarted = std::chrono::steady_clock::now();
    if (&daemon == &cluster.Router()) {
      cluster.RestartRouter();
    } else {
      daemon.Restart();
    }
    const Duration healed = AwaitAnswer(cluster, restarted);
    std::cout << "healing after kill -9 and restart of " << side << ": " << Milliseconds(healed) << " ms\n";
    const std::vector<Transcript> seen = streams.Finish();
    if (streams_survive) RequireSame(seen, expected);
    daemon.AwaitPorts();
    cluster.AwaitReady();
    cluster.RequireIdle();
  }
}

}  // namespace

TEST_CASE("under load, prefill is killed and started again: the new process serves, no stream notices") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  RequireHeals("prefill", cluster, cluster.Prefill(), true);
}

TEST_CASE("under load, decode is killed and started again: the new process goes on with the streams") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  RequireHeals("decode", cluster, cluster.Decode(), true);
}

TEST_CASE("under load, the router is killed and started again: its workers are there for the next request") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  RequireHeals("router", cluster, cluster.Router(), false);
}

}  // namespace baton::test
