#include <cmath>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/hardware/calibrate.h"
#include "common/hardware/calibrated_model.h"

namespace baton::hardware {
namespace {

const PromptFit kPrompt{.layer_us = 60, .efficiency = 0.5, .smooth = 3, .knee_loss = 0.1};
const TokenFit kToken{
    .layer_us = 40, .weight_efficiency = 0.8, .kv_efficiency = 0.5, .sequence_us = 0.5, .crowd_us = 0.5};

const ModelShape& Model() {
  return **Catalogue::BuiltIn().FindModel("llama2-70b");
}
const Device& Gpu() {
  return **Catalogue::BuiltIn().FindDevice("h100-80gb");
}

/// Steps of one worker, each as the formulas say and up to 3 % more or less; one of fifty stalls.
class Worker {
 public:
  void Prompt(std::int64_t prompts, std::int64_t tokens, std::int64_t cached) {
    const std::vector<PromptPiece> pieces(static_cast<std::size_t>(prompts),
                                          {.tokens = tokens, .cached = cached});
    StepRow row = Row();
    row.prompts = prompts;
    row.prompt_tokens = prompts * tokens;
    row.cached_tokens = prompts * cached;
    row.seconds = Noisy(PromptFormula(kPrompt, Model(), Gpu(), 8, {.prompts = pieces}));
    steps.push_back(row);
  }
  void Decode(std::int64_t sequences, std::int64_t context) {
    StepRow row = Row();
    row.decodes = sequences;
    row.context_tokens = sequences * context;
    row.seconds = Noisy(TokenFormula(kToken, Model(), Gpu(), 8,
                                     {.decodes = sequences, .decode_context = sequences * context}));
    steps.push_back(row);
  }
  void Mixed() {
    StepRow row = Row();
    row.prompts = row.decodes = 1;
    row.prompt_tokens = row.context_tokens = 100;
    row.seconds = 1;
    steps.push_back(row);
  }

  std::vector<StepRow> steps;
  RandomStream random{7};

 private:
  StepRow Row() {
    StepRow row{.model = "llama2-70b", .device = "h100-80gb", .tensor_parallel = 8, .file = nullptr};
    row.line = static_cast<int>(steps.size()) + 2;
    return row;
  }
  double Noisy(double seconds) {
    return seconds * (1 + 0.03 * (2 * random.Uniform() - 1)) * (random.Between(1, 50) == 1 ? 5 : 1);
  }
};

Worker BusyWorker() {
  Worker worker;
  for (int i = 0; i < 4000; ++i) {
    worker.Prompt(worker.random.Between(1, 4), worker.random.Between(16, 2048),
                  i % 3 == 0 ? worker.random.Between(1, 4096) : 0);
    worker.Decode(worker.random.Between(1, 64), worker.random.Between(64, 4096));
  }
  return worker;
}

TEST_CASE("what workers tell of their steps is fitted, and held-out kinds of steps are predicted") {
  Worker worker = BusyWorker();
  worker.Mixed();
  worker.Prompt(64, 2048, 0);  // once

  const auto report = Calibrate({.rows = {}, .steps = worker.steps}, Catalogue::BuiltIn());

  INFO(report.status());
  REQUIRE(report.ok());
  REQUIRE(report->calibrations.size() == 1);
  REQUIRE(report->left_out_points.size() == 1);
  const HeldOutError& error = report->left_out_points[0];
  CHECK(error.prompt_points >= 20);
  CHECK(error.token_points >= 20);
  CHECK(error.prompt_points <= 100);
  CHECK(error.prompt_mean < 0.03);
  CHECK(error.token_mean < 0.02);
  CHECK(report->left_out_shapes[0].prompt_mean < 0.05);
  CHECK(report->unseen_configurations.empty());
  std::int64_t mixed = 0;
  std::int64_t rare = 0;
  for (const ExcludedPoint& point : report->excluded) {
    mixed += point.reason.starts_with("mixed") ? point.rows : 0;
    rare += point.reason.starts_with("rare") ? point.rows : 0;
  }
  CHECK(mixed == 1);
  CHECK(rare >= 1);

  // Such steps in a simulation take what they took, and the file that holds the fit says so.
  const auto catalogue = Catalogue::FromText(FormatCalibrationFile(*report), "calibrated.yaml");
  INFO(catalogue.status());
  REQUIRE(catalogue.ok());
  const auto model =
      MakePerfModel(*catalogue, {.model = "llama2-70b", .machine = "dgx-h100"}, PerfKind::kBest);
  REQUIRE(model.ok());
  const std::vector<PromptPiece> chunk{{.tokens = 512, .cached = 1024}};
  CHECK((*model)->Time({.prompts = chunk}).seconds ==
        Approx(PromptFormula(kPrompt, Model(), Gpu(), 8, {.prompts = chunk})).epsilon(0.05));
  CHECK((*model)->Time({.decodes = 20, .decode_context = 20 * 900}).seconds ==
        Approx(TokenFormula(kToken, Model(), Gpu(), 8, {.decodes = 20, .decode_context = 20 * 900}))
            .epsilon(0.03));
}

TEST_CASE("telemetry of one phase alone is refused, and the error says what is missing") {
  Worker worker = BusyWorker();
  std::erase_if(worker.steps, [](const StepRow& step) { return step.prompts > 0; });

  const auto report = Calibrate({.rows = {}, .steps = worker.steps}, Catalogue::BuiltIn());

  CHECK_THAT(Message(report.status()),
             Catch::Contains("llama2-70b on h100-80gb with tensor_parallel 8: 0 usable points of prompts; 4 "
                             "are needed (of telemetry, a prefill worker's file has them)"));
}

TEST_CASE("telemetry of hardware that the catalogue lacks is refused with file and line") {
  Worker worker = BusyWorker();
  worker.steps[0].device = "cpu/avx2/bf16";
  worker.steps[0].file = std::make_shared<const std::string>("prefill.csv");

  const auto report = Calibrate({.rows = {}, .steps = worker.steps}, Catalogue::BuiltIn());

  CHECK_THAT(Message(report.status()),
             Catch::StartsWith("prefill.csv:2: device \"cpu/avx2/bf16\" is not in the catalogue"));
}

}  // namespace
}  // namespace baton::hardware
