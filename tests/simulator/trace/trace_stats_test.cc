#include "simulator/trace/trace_stats.h"

#include <catch2/catch.hpp>

#include "simulator/trace/trace_file.h"
#include "tests/support/shared_data.h"

namespace baton::simulator {
namespace {

TEST_CASE("figures of a small trace are those computed by hand") {
  const Workload workload{.name = "w",
                          .requests = {{.arrival_s = 0, .prompt_tokens = 100, .output_tokens = 4},
                                       {.arrival_s = 0.5, .prompt_tokens = 300, .output_tokens = 2},
                                       {.arrival_s = 0.9, .prompt_tokens = 3000, .output_tokens = 3},
                                       {.arrival_s = 4, .prompt_tokens = 200, .output_tokens = 1}}};

  const TraceStats stats = StatsOf(workload);

  CHECK(stats.requests == 4);
  CHECK(stats.span_s == 4);
  CHECK(stats.prompt.p50 == 250);  // between the ranks
  CHECK(stats.prompt.mean == 900);
  CHECK(stats.prompt.most == 3000);
  CHECK(stats.output.least == 1);
  CHECK(stats.second_most == 3);
  CHECK(stats.gap_longest_s == Approx(3.1));
  CHECK(stats.long_prompt_share == 0.25);
  CHECK(stats.spearman == Approx(-0.2));  // ranks 1 3 4 2 and 4 2 3 1
}

TEST_CASE("a prefix counts as shared from its second request on") {
  const Workload workload{
      .name = "w",
      .requests = {{.prompt_tokens = 100, .output_tokens = 1, .prefix_id = 3, .prefix_tokens = 60},
                   {.prompt_tokens = 100, .output_tokens = 1, .prefix_id = 3, .prefix_tokens = 60},
                   {.prompt_tokens = 100, .output_tokens = 1, .prefix_id = 4, .prefix_tokens = 50}}};

  CHECK(StatsOf(workload).prefix_share == Approx(0.2));
}

TEST_CASE("no requests have no figures") {
  CHECK(StatsOf({}).requests == 0);
}

TEST_CASE("figures of the public Azure traces are those published with them") {
  const auto code = test::SharedData("azure/AzureLLMInferenceTrace_code.csv");
  if (!code) {
    WARN("skipped: no shared data beside this checkout");
    return;
  }
  const auto workload = ReadTrace(*code);
  REQUIRE(workload.ok());

  const TraceStats stats = StatsOf(*workload);

  CHECK(stats.requests == 8819);
  CHECK(stats.prompt.mean == Approx(2047.8).margin(0.05));
  CHECK(stats.prompt.p50 == 1469);
  CHECK(stats.prompt.p90 == Approx(5187.6).margin(0.05));
  CHECK(stats.output.p99 == Approx(251.5).margin(0.5));
  CHECK(stats.gap_cv == Approx(13.2).margin(0.05));
  CHECK(stats.spearman == Approx(-0.021).margin(0.0006));
  CHECK(stats.second_most == 67);
  CHECK(stats.long_prompt_share == Approx(0.375).margin(0.0006));
}

}  // namespace
}  // namespace baton::simulator
