#include "router/record/recorder.h"
#include "router/record/replay.h"
#include "tests/router/dispatcher_rig.h"
#include "tests/support/temporary_folder.h"

namespace baton::router {
namespace {

constexpr RequestId kOther{101};

/// Drives a dispatcher that records, then replays.
class Recorded {
 public:
  explicit Recorded(AdmissionLimits limits = {}) {
    auto recorder = Recorder::Open({.file = file_}, {.router = "test", .model = "m", .limits = limits});
    REQUIRE(recorder.ok());
    recorder_ = *std::move(recorder);
    bench.emplace(limits, ResumeLimits{}, recorder_.get());
  }
  ReplayReport Replay() {
    bench.reset();
    recorder_.reset();
    auto report = ReplayFile(file_);
    UNSCOPED_INFO(report.status().ToString());
    REQUIRE(report.ok());
    for (const Difference& difference : report->differences) UNSCOPED_INFO(difference.what);
    return *std::move(report);
  }

 private:
  const test::TemporaryFolder folder_;
  const std::string file_ = folder_.Path() + "/r.rec";
  std::unique_ptr<Recorder> recorder_;

 public:
  std::optional<Bench> bench;
};

TEST_CASE("placing, waiting, placing again and refusing are replayed to the same decisions") {
  Recorded recorded({.queue_requests = 2});
  Bench& bench = *recorded.bench;
  Seen early;
  bench.Submit(early, RequestId{99});  // nobody is there
  bench.JoinTwoPairs();
  bench.clock.Advance(milliseconds(5));
  Seen first;
  bench.Submit(first, kRequest, 10, 20, {}, {7, 8});
  Seen second;
  bench.Submit(second, kOther, 400);  // takes what memory there is
  Seen refused;
  bench.Submit(refused, RequestId{102});  // the queue is full
  bench.clock.Advance(milliseconds(5));
  bench.Release(kP, "failed", "peer_lost");  // a second attempt
  const WorkerId again = bench.port.Of("prefill").back().worker;
  bench.Token(again, 0, "", kSecond);
  Seen alike;
  bench.Submit(alike, RequestId{103}, 10, 40, {}, {7, 8, 9});  // its beginning is held
  bench.dispatcher->ClientGone(kOther);
  bench.dispatcher->OnLeaving(kD);
  bench.dispatcher->OnLost(kP);
  bench.dispatcher->OnLost(kP2);

  const ReplayReport report = recorded.Replay();

  CHECK(report.Same());
  CHECK(report.end == "closed");
  CHECK(report.admit.made == 5);
  CHECK(report.place.made >= 4);
  CHECK(report.ready.made >= 3);
  CHECK(report.workers == 4);
}

TEST_CASE("a request that waits for memory is asked for again, and each time is recorded") {
  Recorded recorded;
  Bench& bench = *recorded.bench;
  bench.Join(kP, cluster::Phase::kPrefill, {kD}, 4);
  bench.Join(kD, cluster::Phase::kDecode, {kP}, 4);
  Seen first;
  bench.Submit(first, kRequest, 30, 20);  // four blocks of decode
  Seen second;
  bench.Submit(second, kOther, 30, 20);
  const auto placed = [&] { return bench.port.Of("prefill").size(); };
  REQUIRE(placed() == 1);
  bench.Token(kP, 0);
  bench.Token(kD, 1, "stop");
  bench.Release(kP);
  bench.Release(kD);
  REQUIRE(placed() == 2);

  const ReplayReport report = recorded.Replay();

  CHECK(report.Same());
  CHECK(report.place.made > 2);
}

}  // namespace
}  // namespace baton::router
