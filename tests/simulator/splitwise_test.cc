#include "simulator/splitwise_world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <sstream>

#include "simulator/event_heap.h"
#include "tests/simulator/splitwise_setups.h"
#include "tests/support/shared_data.h"

namespace baton::simulator {
namespace {

using router::MachineRole;
using test::PaperSetup;
using test::PaperTrace;
using test::SplitwiseGroup;

RunResult RunPaper(const SplitwiseSetup& setup, const Workload& workload, std::string_view policy) {
  const auto placer = router::MakePlacer(policy, 0, {.back = router::PoolOptions::Return::kIdle});
  return RunSplitwise(setup, workload, *placer, {});
}

struct Row {
  double response = 0, queue = 0, ttft = 0, tbt = 0, nth = 0;
};

std::map<std::int64_t, Row> ReadExpected(const std::string& path) {
  std::map<std::int64_t, Row> rows;
  std::istringstream text(test::ReadFile(path));
  std::string line;
  std::getline(text, line);
  while (std::getline(text, line)) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream cells(line);
    double id = 0;
    Row row;
    cells >> id >> row.response >> row.queue >> row.ttft >> row.tbt >> row.nth;
    rows[static_cast<std::int64_t>(id)] = row;
  }
  return rows;
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

struct Case {
  std::string expected;
  std::string trace;
  std::string model;
  std::string policy;
  std::vector<SplitwiseGroup> groups;
};

const std::vector<Case> kCases{
    {"test_trace_baseline_h100_bloom",
     "test_trace",
     "bloom-176b",
     "token-jsq",
     {{MachineRole::kWhole, "h100-80gb", 1}}},
    {"test_trace_baseline_h100_llama",
     "test_trace",
     "llama2-70b",
     "token-jsq",
     {{MachineRole::kWhole, "h100-80gb", 1}}},
    {"test_trace_splitwise_ha_bloom",
     "test_trace",
     "bloom-176b",
     "mixed-pool",
     {{MachineRole::kPrompt, "h100-80gb", 1}, {MachineRole::kToken, "a100-80gb", 1}}},
    {"test_trace_splitwise_ha_llama",
     "test_trace",
     "llama2-70b",
     "mixed-pool",
     {{MachineRole::kPrompt, "h100-80gb", 1}, {MachineRole::kToken, "a100-80gb", 1}}},
    {"rr_conv_70_2min_baseline_a100_bloom",
     "rr_conv_70_2min",
     "bloom-176b",
     "token-jsq",
     {{MachineRole::kWhole, "a100-80gb", 70}}},
    {"rr_conv_70_2min_splitwise_aa_bloom",
     "rr_conv_70_2min",
     "bloom-176b",
     "mixed-pool",
     {{MachineRole::kPrompt, "a100-80gb", 45}, {MachineRole::kToken, "a100-80gb", 25}}},
    {"rr_code_70_2min_baseline_h100_bloom",
     "rr_code_70_2min",
     "bloom-176b",
     "token-jsq",
     {{MachineRole::kWhole, "h100-80gb", 40}}},
    {"rr_code_70_2min_splitwise_hh_bloom",
     "rr_code_70_2min",
     "bloom-176b",
     "mixed-pool",
     {{MachineRole::kPrompt, "h100-80gb", 35}, {MachineRole::kToken, "h100-80gb", 5}}},
    {"rr_code_70_2min_splitwise_ha_bloom",
     "rr_code_70_2min",
     "bloom-176b",
     "mixed-pool",
     {{MachineRole::kPrompt, "h100-80gb", 35}, {MachineRole::kToken, "a100-80gb", 8}}},
};

bool Close(double a, double b) {
  return std::abs(a - b) <= 1e-9 * std::max(1.0, std::abs(b));
}

}  // namespace

TEST_CASE("the published runs of the reference come out request by request") {
  for (const Case& example : kCases) {
    CAPTURE(example.expected);
    const auto setup = PaperSetup(example.model, example.groups);
    const auto workload = PaperTrace(example.trace);
    const auto path = test::SharedData("splitwise-sim/expected/" + example.expected + ".csv");
    if (!setup || !workload || !path) {
      WARN("skipped: the shared data with the reference's runs is not here");
      return;
    }

    const RunResult result = RunPaper(*setup, *workload, example.policy);

    const auto expected = ReadExpected(*path);
    REQUIRE(expected.size() == workload->requests.size());
    std::vector<double> measured[3];
    std::vector<double> wanted[3];
    std::size_t same = 0;
    for (const RequestOutcome& outcome : result.requests) {
      const auto index = static_cast<std::size_t>(outcome.request);
      const Row& row = expected.at(workload->requests[index].id);
      REQUIRE(outcome.end == RequestEnd::kDone);
      const bool equal = Close(outcome.ttft_s, row.ttft) && Close(outcome.tbt_s, row.tbt) &&
                         Close(outcome.response_s, row.response) && Close(outcome.queue_s, row.queue) &&
                         Close(outcome.second_token_s, row.nth);
      same += equal ? 1 : 0;
      const double got[3] = {outcome.ttft_s, outcome.tbt_s, outcome.response_s};
      const double want[3] = {row.ttft, row.tbt, row.response};
      for (int i = 0; i < 3; ++i) {
        measured[i].push_back(got[i]);
        wanted[i].push_back(want[i]);
      }
    }
    CHECK(same == result.requests.size());
    for (int i = 0; i < 3; ++i) {
      CAPTURE(i);
      for (const double q : {0.5, 0.9, 0.99}) {
        CHECK(Quantile(measured[i], q) == Approx(Quantile(wanted[i], q)).epsilon(0.01));
      }
      CHECK(Mean(measured[i]) == Approx(Mean(wanted[i])).epsilon(0.005));
    }
  }
}

namespace {

/// Prompts take 1 ms a token, a step of decodes 10 ms; a token's KV is one byte.
SplitwiseSetup PlainSetup(std::vector<SplitwiseMachine> machines) {
  SplitwiseSetup setup;
  setup.machines = std::move(machines);
  setup.tables.push_back({.tokens = {1, 10'000}, .prompt_s = {0.001, 10}, .token_s = {0.01, 0.01}});
  setup.kv_bytes_per_token = 1;
  setup.link_bytes_per_s = 10'000;
  return setup;
}

SplitwiseMachine PlainMachine(MachineRole role, std::int64_t memory = 100'000) {
  return {.role = role, .memory_bytes = memory};
}

Workload Requests(std::vector<WorkloadRequest> requests) {
  return {"by hand", std::move(requests)};
}

}  // namespace

TEST_CASE("a request alone on one machine takes its prompt and a step for each further token") {
  const auto setup = PlainSetup({PlainMachine(MachineRole::kWhole)});

  const RunResult result = RunPaper(setup, Requests({{0, 1.0, 100, 5}}), "token-jsq");

  CHECK(result.requests[0].ttft_s == Approx(0.1));
  CHECK(result.requests[0].response_s == Approx(0.1 + 4 * 0.01));
  CHECK(result.requests[0].tbt_s == Approx(0.04 / 5));
  CHECK(result.machines[0].output_tokens == 5);
}

TEST_CASE("a prompt ends the run of decode steps at its next boundary, and a mixed step costs a tenth more") {
  const auto setup = PlainSetup({PlainMachine(MachineRole::kWhole)});

  const RunResult result =
      RunPaper(setup, Requests({{0, 0.0, 100, 11}, {1, 0.115, 200, 1 + 1}}), "token-jsq");

  // Decodes from 0.1; the arrival lies in the second step, which ends at 0.12. Then 201 tokens at 1.1 ms.
  CHECK(result.requests[1].queue_s == Approx(0.005));
  CHECK(result.requests[1].ttft_s == Approx(0.005 + 0.2211));
  CHECK(result.requests[0].response_s == Approx(0.12 + 0.2211 + 7 * 0.01));
}

TEST_CASE("a prompt beyond the budget runs alone, and the decodes are preempted for it") {
  const auto setup = PlainSetup({PlainMachine(MachineRole::kWhole)});

  const RunResult result = RunPaper(setup, Requests({{0, 0.0, 100, 11}, {1, 0.115, 3000, 3}}), "token-jsq");

  CHECK(result.requests[1].ttft_s == Approx(0.005 + 3.0));
  CHECK(result.requests[0].preemptions == 1);
  CHECK(result.requests[0].response_s == Approx(0.12 + 3.0 + 8 * 0.01));
}

TEST_CASE("a transfer asks a full receiver again after a second") {
  // The token machine holds one request at a time: 101 bytes and 99 of its answer.
  const auto setup = PlainSetup({PlainMachine(MachineRole::kPrompt), PlainMachine(MachineRole::kPrompt),
                                 PlainMachine(MachineRole::kToken, 250)});

  const RunResult result =
      RunPaper(setup, Requests({{0, 0.0, 100, 100}, {1, 0.05, 150, 2}}), "split-round-robin");

  CHECK(result.requests[0].second_token_s == Approx(0.01));
  CHECK(result.requests[0].response_s == Approx(0.1 + 0.01 + 0.99));
  // Its prompt ends at 0.2, when 200 bytes are taken; at 1.2 they are free again.
  CHECK(result.requests[1].second_token_s == Approx(1 + 0.015));
}

TEST_CASE("prompts that fill the memory leave their answers stuck, as in the reference") {
  const auto setup = PlainSetup({PlainMachine(MachineRole::kWhole, 404)});

  const RunResult result = RunPaper(
      setup, Requests({{0, 0.0, 100, 4}, {1, 0.001, 100, 4}, {2, 0.002, 100, 4}, {3, 0.003, 100, 4}}),
      "token-jsq");

  // After the first prompt the other three run at once; then 404 of 404 bytes hold prompts.
  for (const RequestOutcome& outcome : result.requests) CHECK(outcome.end == RequestEnd::kUnfinished);
}

TEST_CASE("a prompt far beyond a table that falls takes as long as its last knot") {
  auto setup = PlainSetup({PlainMachine(MachineRole::kWhole)});
  setup.tables[0].prompt_s = {1, 0.5};

  const RunResult result = RunPaper(setup, Requests({{0, 3.0, 90'000, 3}}), "token-jsq");

  CHECK(result.requests[0].ttft_s == Approx(0.5));
}

TEST_CASE("an overloaded machine serves everything, and its queue shows in the waits") {
  const auto setup = PlainSetup({PlainMachine(MachineRole::kWhole, 1'000'000'000)});
  Workload workload;
  std::int64_t prompt_tokens = 0;
  for (int i = 0; i < 3000; ++i) {
    workload.requests.push_back({i, 0.01 * i, 100 + i % 50, 4});
    prompt_tokens += 100 + i % 50;
  }

  const RunResult result = RunPaper(setup, workload, "token-jsq");

  for (const RequestOutcome& outcome : result.requests) REQUIRE(outcome.end == RequestEnd::kDone);
  CHECK(result.machines[0].prompt_tokens == prompt_tokens);
  CHECK(result.span_s > 0.001 * static_cast<double>(prompt_tokens));
  CHECK(result.requests[2900].queue_s > 300);
}

TEST_CASE("an interrupted run says so and holds what it has") {
  const auto setup = PlainSetup({PlainMachine(MachineRole::kWhole)});
  Workload workload;
  for (int i = 0; i < 10'000; ++i) workload.requests.push_back({i, 0.2 * i, 100, 4});
  const auto placer = router::MakePlacer("token-jsq", 0, {});
  RunOptions options;
  options.progress = [](double) { return false; };

  const RunResult result = RunSplitwise(setup, workload, *placer, options);

  CHECK(result.interrupted);
  CHECK(result.requests.front().end == RequestEnd::kDone);
  CHECK(result.requests.back().end == RequestEnd::kUnfinished);
}

TEST_CASE("a run is interrupted while its last requests run, too") {
  const auto setup = PlainSetup({PlainMachine(MachineRole::kWhole, 1'000'000'000)});
  Workload workload;
  for (int i = 0; i < 20'000; ++i) workload.requests.push_back({i, 0, 1500, 2});
  const auto placer = router::MakePlacer("token-jsq", 0, {});
  RunOptions options;
  options.progress = [](double share) { return share < 0.5; };

  const RunResult result = RunSplitwise(setup, workload, *placer, options);

  CHECK(result.interrupted);
  CHECK(result.requests.front().end == RequestEnd::kDone);
  CHECK(result.requests.back().end == RequestEnd::kUnfinished);
}

TEST_CASE("events of one time leave in the order of a binary heap that sifts holes down to its leaves") {
  EventHeap heap;
  for (std::uint32_t i = 0; i < 6; ++i) heap.Push({1.0, 0, i, 0});
  std::vector<std::uint32_t> order;
  while (!heap.Empty()) order.push_back(heap.Pop().subject);
  CHECK(order == std::vector<std::uint32_t>{0, 2, 5, 4, 1, 3});
}

}  // namespace baton::simulator
