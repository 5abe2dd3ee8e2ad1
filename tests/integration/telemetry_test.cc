#include <csignal>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/hardware/step_rows.h"
#include "tests/integration/cluster.h"
#include "tests/integration/traffic.h"
#include "tests/support/shared_data.h"

/// What daemons say of their steps is what baton-sim calibrates on and then simulates with.
namespace baton::test {
namespace {

constexpr Duration kLimit = std::chrono::seconds(60);
constexpr std::int64_t kAnswerTokens = 24;

// The model and the machine of this test, as an operator would describe theirs.
constexpr const char* kCatalogue = R"(
models:
  - {name: demo, layers: 4, hidden: 256, heads: 4, kv_heads: 2, head_dim: 64, intermediate: 768,
     vocabulary: 2048, tied_embeddings: true}
devices:
  - {name: this-cpu, memory_gib: 8, bandwidth_gbs: 20, bf16_tflops: 0.2, tdp_w: 100, idle_w: 20, pcie_gbs: 8,
     nic_gbs: 1, dollars_per_hour: 0.1}
machines:
  - {name: box, device: this-cpu, devices: 1, base_w: 20}
)";

std::vector<hardware::StepRow> StepsOf(const std::string& file) {
  const auto rows = hardware::ParseStepCsv(ReadFile(file), file);
  INFO(rows.status());
  REQUIRE(rows.ok());
  return *rows;
}

RunResult BatonSim(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), Program("sim"));
  return RunToEnd(arguments);
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("daemons' telemetry calibrates the simulator, which then simulates them") {
  const TemporaryFolder folder;
  const std::string prefill = folder.Path() + "/prefill.csv";
  const std::string decode = folder.Path() + "/decode.csv";
  const std::string ours = folder.Path() + "/ours.yaml";
  const std::string fitted = folder.Path() + "/fitted.yaml";
  WriteFile(ours, kCatalogue);
  std::vector<perf::AskOptions> requests;
  std::int64_t prompt_tokens = 0;
  for (std::uint64_t i = 0; i < 60; ++i) {
    const std::int64_t tokens = 16 << (i % 5);  // 16 to 256, each often enough for a median
    prompt_tokens += tokens;
    requests.push_back(LongStream(i, tokens, kAnswerTokens));
  }
  {
    Cluster cluster({.model = ProjectFile("deploy/demo-model"),
                     .prefill = {.more = fmt::format("telemetry: {{steps_file: {}}}\n", prefill)},
                     .decode = {.more = fmt::format("telemetry: {{steps_file: {}}}\n", decode)}});
    cluster.AwaitReady();
    std::size_t at_once = 1;
    for (std::size_t first = 0; first < requests.size(); first += 15, at_once *= 2) {
      const std::vector<perf::AskOptions> some(requests.begin() + static_cast<std::ptrdiff_t>(first),
                                               requests.begin() + static_cast<std::ptrdiff_t>(first + 15));
      for (const perf::Answer& answer : AskAll(cluster, some, at_once)) {
        INFO(answer.Describe());
        CHECK(answer.Complete());
      }
    }
    cluster.RequireIdle();
    for (Daemon* worker : {&cluster.Decode(), &cluster.Prefill()}) {
      worker->Running().Signal(SIGTERM);
      CHECK(worker->Running().WaitExit(kLimit) == 0);
    }
  }

  std::int64_t computed = 0;
  for (const hardware::StepRow& row : StepsOf(prefill)) {
    CHECK(row.decodes == 0);
    computed += row.prompt_tokens;
  }
  CHECK(computed == prompt_tokens);  // none begins as another does
  std::int64_t decoded = 0;
  std::int64_t together = 0;
  for (const hardware::StepRow& row : StepsOf(decode)) {
    CHECK(row.prompts == 0);
    decoded += row.decodes;
    together = std::max(together, row.decodes);
  }
  // The first token of each answer is prefill's.
  CHECK(decoded == static_cast<std::int64_t>(requests.size()) * (kAnswerTokens - 1));
  CHECK(together > 1);

  const RunResult unnamed = BatonSim({"calibrate", prefill, decode, "--catalogue", ours});
  CHECK(unnamed.exit == 2);
  CHECK(Contains(unnamed.output, "prefill.csv:2: model \"baton-test\" is not in the catalogue"));
  const RunResult calibrated =
      BatonSim({"calibrate", prefill, decode, "--catalogue", ours, "--model", "demo", "--hardware",
                "this-cpu", "--engine", "this build", "--out", fitted});
  INFO(calibrated.output);
  REQUIRE(calibrated.exit == 0);
  CHECK(Contains(calibrated.output, "one point"));
  const RunResult simulated =
      BatonSim({"simulate", "--catalogue", ours, "--catalogue", fitted, "--model", "demo", "--fleet",
                "prefill=1xbox,decode=1xbox", "--rate", "2", "--duration", "20", "--slo", "none"});
  INFO(simulated.output);
  CHECK(simulated.exit == 0);
  CHECK(Contains(simulated.output, "step times: measured (this build)"));
}

}  // namespace
}  // namespace baton::test
