#include "simulator/stats.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace baton::simulator {
namespace {

/// One request a second; request i waits `wait(i)`.
template <typename Wait>
std::pair<Workload, RunResult> Waiting(int count, Wait wait) {
  Workload workload;
  RunResult result;
  for (int i = 0; i < count; ++i) {
    workload.requests.push_back({i, static_cast<double>(i), 10, 10});
    RequestOutcome outcome;
    outcome.request = i;
    outcome.end = RequestEnd::kDone;
    outcome.queue_s = wait(i);
    outcome.ttft_s = outcome.queue_s + 1;
    outcome.response_s = outcome.ttft_s + 5;
    result.requests.push_back(outcome);
  }
  return {workload, result};
}

}  // namespace

TEST_CASE("a quantile lies between its neighbours") {
  CHECK(QuantileOf({4, 1, 3, 2}, 0.5) == Approx(2.5));
  CHECK(QuantileOf({4, 1, 3, 2}, 0.9) == Approx(3.7));
  CHECK(QuantileOf({7}, 0.99) == Approx(7));
}

TEST_CASE("Student's quantiles are those of the tables") {
  CHECK(StudentQuantile(0.975, 1) == Approx(12.706).epsilon(1e-4));
  CHECK(StudentQuantile(0.975, 2) == Approx(4.3027).epsilon(1e-4));
  CHECK(StudentQuantile(0.975, 9) == Approx(2.2622).epsilon(1e-4));
  CHECK(StudentQuantile(0.95, 30) == Approx(1.6973).epsilon(1e-4));
  CHECK(StudentQuantile(0.025, 2) == Approx(-4.3027).epsilon(1e-4));
}

TEST_CASE("an interval over three seeds is as wide as three seeds allow") {
  const std::vector<double> values{10, 12, 14};
  const MeanInterval interval = ConfidenceInterval(values);
  CHECK(interval.mean == Approx(12));
  CHECK(interval.half_width == Approx(4.3027 * 2 / std::sqrt(3.0)).epsilon(1e-4));
  CHECK(std::isinf(ConfidenceInterval(std::vector<double>{3}).half_width));
}

TEST_CASE("a backlog that grows is told from one that stands or breathes") {
  const auto [grown, grown_result] = Waiting(1000, [](int i) { return 0.05 * i; });
  CHECK(BacklogGrows(grown, grown_result));
  const auto [steady, steady_result] = Waiting(1000, [](int) { return 30.0; });
  CHECK_FALSE(BacklogGrows(steady, steady_result));
  const auto [waves, waves_result] = Waiting(1000, [](int i) { return 5 + 4 * std::sin(i / 30.0); });
  CHECK_FALSE(BacklogGrows(waves, waves_result));
}

TEST_CASE("requests that never began wait for ever") {
  auto [workload, result] = Waiting(1000, [](int) { return 0.0; });
  for (std::size_t i = 500; i < 1000; ++i) {
    result.requests[i].end = RequestEnd::kUnfinished;
    result.requests[i].ttft_s = 0;
  }
  CHECK(BacklogGrows(workload, result));
  CHECK(MeanWaiting(workload, result, 900, 910) == Approx(405).epsilon(0.01));
}

}  // namespace baton::simulator
