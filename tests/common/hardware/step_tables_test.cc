#include "common/hardware/step_tables.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/hardware/perf_model.h"
#include "tests/support/shared_data.h"

namespace baton::hardware {
namespace {

BenchmarkRow Row(const std::string& hardware, std::int64_t prompt, std::int64_t batch, double prompt_ms,
                 double token_ms) {
  return {.model = "llama2-70b",
          .device = hardware,
          .tensor_parallel = 8,
          .prompt_tokens = prompt,
          .batch = batch,
          .output_tokens = 128,
          .prompt_ms = prompt_ms,
          .token_ms = token_ms,
          .line = 7};
}

std::vector<std::string> MachinesOf(const std::vector<TimeTable>& tables) {
  std::vector<std::string> machines;
  for (const TimeTable& table : tables) machines.push_back(table.machine);
  return machines;
}

TEST_CASE("a knot is the median of the rows with as many tokens of prompts") {
  const std::vector<BenchmarkRow> rows{Row("dgx-h100", 512, 1, 50, 30), Row("dgx-h100", 256, 2, 90, 40),
                                       Row("dgx-h100", 128, 4, 60, 31), Row("dgx-h100", 128, 1, 20, 29)};

  const auto tables = TablesFrom(rows, Catalogue::BuiltIn());

  REQUIRE(tables.ok());
  REQUIRE(tables->size() == 1);
  CHECK((*tables)[0].machine == "dgx-h100");
  CHECK((*tables)[0].tokens == std::vector<double>{128, 512});
  CHECK((*tables)[0].prompt_ms == std::vector<double>{20, 60});
  CHECK((*tables)[0].token_ms == std::vector<double>{29, 31});
}

TEST_CASE("a device gives its table to its machines, a capped one to those with a cap") {
  const auto machines = [](const std::string& hardware) {
    const std::vector<BenchmarkRow> rows{Row(hardware, 128, 1, 20, 29), Row(hardware, 256, 1, 30, 29)};
    const auto tables = TablesFrom(rows, Catalogue::BuiltIn());
    REQUIRE(tables.ok());
    return MachinesOf(*tables);
  };

  CHECK(machines("h100-80gb") == std::vector<std::string>{"dgx-h100"});
  CHECK(machines("h100-80gb-pcap") == std::vector<std::string>{"dgx-h100-pcap"});
}

TEST_CASE("rows that no table can be made of are named by line") {
  const auto problem = [](const std::vector<BenchmarkRow>& rows) {
    return Message(TablesFrom(rows, Catalogue::BuiltIn()).status());
  };
  BenchmarkRow unknown = Row("dgx-h100", 128, 1, 20, 29);
  unknown.model = "gpt-9";

  CHECK_THAT(problem({Row("z9", 128, 1, 20, 29)}), Catch::Contains("line 7: hardware:"));
  CHECK_THAT(problem({unknown}), Catch::Contains("line 7: model \"gpt-9\""));
  CHECK_THAT(problem({Row("dgx-h100", 128, 1, 20, 29)}), Catch::Contains("one knot; a table needs two"));
}

TEST_CASE("the paper's measurements give the tables that are built in") {
  const auto path = test::SharedData("splitwise-sim/perf_model.csv");
  if (!path) {
    WARN("skipped: the paper's measurements are not here (../shared/data/splitwise-sim/perf_model.csv)");
    return;
  }
  const auto rows = ReadBenchmarkCsv(*path);
  REQUIRE(rows.ok());

  const auto tables = TablesFrom(*rows, Catalogue::BuiltIn());

  REQUIRE(tables.ok());
  CHECK(tables->size() == Catalogue::BuiltIn().Tables().size());
  for (const TimeTable& table : *tables) {
    const TimeTable* known =
        Catalogue::BuiltIn().FindTable(table.model, table.machine, table.tensor_parallel);
    INFO(table.model << " on " << table.machine << " x " << table.tensor_parallel);
    REQUIRE(known != nullptr);
    CHECK(table.tokens == known->tokens);
    for (std::size_t i = 0; i < table.tokens.size(); ++i) {
      CHECK(table.prompt_ms[i] == Approx(known->prompt_ms[i]).epsilon(1e-12));
      CHECK(table.token_ms[i] == Approx(known->token_ms[i]).epsilon(1e-12));
    }
  }
}

TEST_CASE("what times rest on is told, and a table's steps have shares of the peaks") {
  const Catalogue& catalogue = Catalogue::BuiltIn();
  const auto basis = [&](std::string_view machine) {
    const auto found = BasisOf(catalogue, {.model = "llama2-70b", .machine = machine});
    REQUIRE(found.ok());
    return Describe(*found);
  };

  CHECK(basis("dgx-h100") == "measured (eager vLLM of 2023)");
  CHECK(basis("hgx-h200") == "roofline");
  CHECK_FALSE(
      MakePerfModel(catalogue, {.model = "llama2-70b", .machine = "hgx-h200"}, PerfKind::kTable).ok());
  const auto table =
      MakePerfModel(catalogue, {.model = "llama2-70b", .machine = "dgx-a100"}, PerfKind::kTable);
  REQUIRE(table.ok());
  const StepTime step = (*table)->Time({.decodes = 4, .decode_context = 4000});
  CHECK(step.bandwidth_share > 0.1);
  CHECK(step.bandwidth_share < 1);
}

TEST_CASE("a table of times takes no other power cap than the machine's own") {
  for (const PerfKind kind : {PerfKind::kTable, PerfKind::kReference}) {
    const PerfConfiguration capped{.model = "llama2-70b", .machine = "dgx-h100", .gpu_cap_w = 350};
    const auto refused = MakePerfModel(Catalogue::BuiltIn(), capped, kind);

    CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(Message(refused.status()).find("power cap") != std::string::npos);
    CHECK(
        MakePerfModel(Catalogue::BuiltIn(), {.model = "llama2-70b", .machine = "dgx-h100-pcap"}, kind).ok());
  }
}

}  // namespace
}  // namespace baton::hardware
