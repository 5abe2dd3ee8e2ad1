#include "simulator/plan/slo.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::simulator {
namespace {

RequestOutcome Done(std::int64_t request, double ttft, double tbt, double e2e) {
  RequestOutcome outcome;
  outcome.request = request;
  outcome.end = RequestEnd::kDone;
  outcome.ttft_s = ttft;
  outcome.tbt_s = tbt;
  outcome.response_s = e2e;
  return outcome;
}

Workload Load(int count) {
  Workload workload;
  for (int i = 0; i < count; ++i) {
    workload.requests.push_back(
        {.id = i, .arrival_s = static_cast<double>(i), .prompt_tokens = 10, .output_tokens = 5});
  }
  return workload;
}

TEST_CASE("limits are read as times and as slowdowns") {
  const auto slo = ParseSlo("paper,ttft_p99=500ms,tbt_p50=3x");

  REQUIRE(slo.ok());
  CHECK(slo->seconds[0][2] == 0.5);
  CHECK(slo->slowdown[1][0] == 3);
  CHECK(slo->slowdown[0][2] == 6);
}

TEST_CASE("a limit that cannot be meant is named") {
  const auto problem = [](std::string_view text) { return Message(ParseSlo(text).status()); };

  CHECK(problem("ttft_p99=5") == "slo: ttft_p99=5: want a time such as 500ms or a factor such as 3x");
  CHECK(problem("ttft_p99=x") == "slo: ttft_p99=x: want a factor such as 3x");
  CHECK(problem("paper,ttfb_p99=5s").starts_with("slo: 'ttfb_p99=5s': want 'paper' or limits"));
  CHECK(problem("").starts_with("slo: ''"));
}

TEST_CASE("quantiles lie between ranks and a limit that is reached is missed") {
  RunResult result;
  for (int i = 0; i < 5; ++i) result.requests.push_back(Done(i, 1.0 + i, 0.1, 10));
  Slo slo;
  slo.seconds[0][1] = 4.6;

  const SloVerdict verdict = Judge(Load(5), result, slo, {});

  CHECK(verdict.seconds[0][0] == 3);
  CHECK(verdict.seconds[0][1] == Approx(4.6));
  CHECK_FALSE(verdict.met);
  CHECK(verdict.binding == "ttft_p90");
  CHECK(verdict.tightest == Approx(1));
}

TEST_CASE("a slowdown is against the same request alone") {
  RunResult result;
  result.requests = {Done(0, 2, 0.1, 10), Done(1, 2, 0.1, 10)};
  const AloneModel alone = [](const WorkloadRequest& request) {
    return AloneTimes{.ttft_s = request.id == 0 ? 1.0 : 2.0, .tbt_s = 0.1, .e2e_s = 10};
  };

  const SloVerdict verdict = Judge(Load(2), result, PaperSlo(), alone);

  CHECK(verdict.slowdown[0][0] == Approx(1.5));
  CHECK(verdict.met);
  CHECK(verdict.attainment == 1);
}

TEST_CASE("a lost request is above every limit") {
  RunResult result;
  for (int i = 0; i < 10; ++i) result.requests.push_back(Done(i, 1, 0.1, 10));
  result.requests[3].end = RequestEnd::kRefused;
  Slo slo;
  slo.seconds[0] = {2, 2, 0};

  const SloVerdict verdict = Judge(Load(10), result, slo, {});

  CHECK(verdict.lost == 1);
  CHECK(verdict.seconds[0][0] == 1);
  CHECK(std::isinf(verdict.seconds[0][1]));
  CHECK_FALSE(verdict.met);
  CHECK(verdict.attainment == Approx(0.9));
}

TEST_CASE("what an interrupted run has not ended does not count") {
  RunResult result;
  for (int i = 0; i < 10; ++i) result.requests.push_back(Done(i, 1, 0.1, 10));
  result.requests[3].end = RequestEnd::kUnfinished;
  Slo slo;
  slo.seconds[0] = {2, 2, 2};

  CHECK_FALSE(Judge(Load(10), result, slo, {}).met);
  result.interrupted = true;
  const SloVerdict verdict = Judge(Load(10), result, slo, {});

  CHECK(verdict.met);
  CHECK(verdict.counted == 9);
  CHECK(verdict.lost == 0);
}

TEST_CASE("requests of the warm-up do not count") {
  RunResult result;
  for (int i = 0; i < 4; ++i) result.requests.push_back(Done(i, i < 2 ? 100 : 1, 0.1, 10));

  const SloVerdict verdict = Judge(Load(4), result, {}, {}, 2);

  CHECK(verdict.counted == 2);
  CHECK(verdict.seconds[0][2] == 1);
}

TEST_CASE("of no request no objective is met") {
  RunResult result;
  result.requests = {Done(0, 1, 0.1, 10)};
  Slo slo;
  slo.seconds[0] = {2, 2, 2};

  CHECK_FALSE(Judge(Load(1), result, slo, {}, 5).met);
  CHECK(Judge(Load(1), result, {}, {}, 5).met);
}

TEST_CASE("an answer of one token has no time between tokens") {
  Workload workload = Load(2);
  workload.requests[0].output_tokens = 1;
  RunResult result;
  result.requests = {Done(0, 1, 0, 1), Done(1, 1, 0.2, 2)};

  CHECK(Judge(workload, result, {}, {}).seconds[1][0] == 0.2);
}

}  // namespace
}  // namespace baton::simulator
