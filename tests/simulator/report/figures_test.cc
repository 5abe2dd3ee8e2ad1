#include "simulator/plan/figures.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::simulator {
namespace {

TEST_CASE("a fleet is read and written as text") {
  const auto fleet = ParseFleet("prefill=25xdgx-h100,decode=3xdgx-h100/4@350w,mixed=1xbox");

  REQUIRE(fleet.ok());
  REQUIRE(fleet->pools.size() == 3);
  CHECK(fleet->pools[0].machines == 25);
  CHECK(fleet->pools[1].tensor_parallel == 4);
  CHECK(fleet->pools[1].gpu_cap_w == 350);
  CHECK(fleet->pools[2].role == PoolRole::kMixed);
  CHECK(FormatFleet(*fleet) == "prefill=25xdgx-h100,decode=3xdgx-h100/4@350w,mixed=1xbox");
}

TEST_CASE("a fleet that cannot be meant is refused with the part and what is wrong") {
  const auto problem = [](std::string_view text) { return Message(ParseFleet(text).status()); };

  CHECK(problem("prefill").starts_with("fleet: 'prefill': no '='; want such as"));
  CHECK(problem("mixed=2xa,prompt=3xb").starts_with("fleet: 'prompt=3xb': the role is none of"));
  CHECK(problem("mixed=0xa").find("no whole number of machines") != std::string::npos);
  CHECK(problem("mixed=2.5xa").find("no whole number of machines") != std::string::npos);
  CHECK(problem("mixed=2x").find("no machine") != std::string::npos);
  CHECK(problem("mixed=2xa@350").find("a cap ends with 'w'") != std::string::npos);
  CHECK(problem("mixed=2xa/0").find("tensor-parallel") != std::string::npos);
}

RequestOutcome Done(std::int64_t request, double queue, double ttft, double second, double transfer,
                    double response) {
  RequestOutcome outcome;
  outcome.request = request;
  outcome.end = RequestEnd::kDone;
  outcome.queue_s = queue;
  outcome.ttft_s = ttft;
  outcome.second_token_s = second;
  outcome.transfer_s = transfer;
  outcome.response_s = response;
  outcome.tbt_s = 0.1;
  return outcome;
}

TEST_CASE("the parts of a waterfall sum to the mean response") {
  RunResult result;
  result.requests = {Done(0, 1, 3, 2, 1.5, 10), Done(1, 0, 1, 0, 0, 2)};

  const Waterfall all = WaterfallOf(result);
  result.requests.erase(result.requests.begin() + 1);
  const Waterfall slow = WaterfallOf(result);

  CHECK(all.queue_s + all.prefill_s + all.transfer_s + all.decode_wait_s + all.decode_s == Approx(6));
  CHECK(slow.queue_s == 1);
  CHECK(slow.prefill_s == 2);
  CHECK(slow.transfer_s == 1.5);
  CHECK(slow.decode_wait_s == 0.5);
  CHECK(slow.decode_s == 5);
}

TEST_CASE("money, power and tokens are put in proportion") {
  const Workload workload{.name = "w",
                          .requests = {{.arrival_s = 0, .prompt_tokens = 100, .output_tokens = 10},
                                       {.arrival_s = 10, .prompt_tokens = 100, .output_tokens = 1}}};
  RunResult result;
  result.requests = {Done(0, 0, 1, 0, 0, 2), Done(1, 0, 3, 0, 0, 3)};
  result.requests[1].tbt_s = 0;
  result.span_s = 20;
  result.last_arrival_s = 10;
  result.machines.resize(2);
  result.machines[0].busy_s = 10;
  result.machines[0].energy_j = 4000;
  result.machines[0].output_tokens = 11;
  result.machines[0].powered_s = 20;
  result.machines[1].powered_s = 10;  // the other half of the time it was parked

  const Figures figures =
      FiguresOf({.dollars_per_hour = 180, .pool_dollars = {180}}, workload, result, {}, {});

  CHECK(figures.done == 2);
  CHECK(figures.mean_s[0] == 2);
  CHECK(figures.mean_s[1] == Approx(0.1));  // the answer of one token has none
  CHECK(figures.busy_share == 0.25);
  CHECK(figures.mean_watts == 200);
  CHECK(figures.joules_per_token == Approx(4000.0 / 11));
  CHECK(figures.dollars_per_million == Approx(0.75e6 / 11));  // two machines of 90 an hour each
  CHECK(figures.offered_rate == Approx(0.2));
}

TEST_CASE("instances that share a machine are a share of it") {
  const Workload workload{.name = "w", .requests = {{.prompt_tokens = 1, .output_tokens = 2}}};
  RunResult result;
  result.requests = {Done(0, 0, 0.1, 0, 0, 0.2)};
  result.requests[0].restarts = 2;
  result.requests[0].migrations = 1;
  result.span_s = 10;
  result.machines.resize(4);
  for (MachineUse& machine : result.machines) machine.powered_s = 10;

  const Figures figures =
      FiguresOf({.machines = 2, .pool_dollars = {20}, .pool_machines = {2}}, workload, result, {}, {});

  CHECK(figures.machines_powered == Approx(2));
  CHECK(figures.restarts == 2);
  CHECK(figures.migrations == 1);
}

TEST_CASE("a backlog that grows misses every objective") {
  const Workload workload{.name = "w", .requests = {{.prompt_tokens = 1, .output_tokens = 2}}};
  RunResult result;
  result.requests = {Done(0, 0, 0.1, 0, 0, 0.2)};
  result.backlog_grows = true;
  Slo slo;
  slo.seconds[0][2] = 5;

  const Figures figures = FiguresOf({}, workload, result, slo, {});

  CHECK_FALSE(figures.verdict.met);
  CHECK(figures.verdict.binding == "backlog");
}

TEST_CASE("the interval of three values is Student's") {
  const Interval interval = IntervalOf({1, 2, 3});

  CHECK(interval.mean == 2);
  CHECK(interval.half_width == Approx(4.303 / std::sqrt(3.0)).epsilon(1e-4));
  CHECK(IntervalOf({7}).half_width == 0);
}

TEST_CASE("what is done after the warm-up is divided by the time after it") {
  Workload workload;
  RunResult result;
  for (int i = 0; i < 10; ++i) {
    workload.requests.push_back(
        {.id = i, .arrival_s = 100 + 10.0 * i, .prompt_tokens = 10, .output_tokens = 5});
    result.requests.push_back(Done(i, 0, 1, 0, 0, 5));
  }
  result.last_arrival_s = 190;
  result.span_s = 100;

  CHECK(FiguresOf({}, workload, result, {}, {}).completed_rate == Approx(0.1));
  const Figures warm = FiguresOf({}, workload, result, {}, {}, 150);
  CHECK(warm.done == 5);
  CHECK(warm.completed_rate == Approx(0.1));
}

}  // namespace
}  // namespace baton::simulator
