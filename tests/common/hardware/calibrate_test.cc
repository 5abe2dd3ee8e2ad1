#include "common/hardware/calibrate.h"

#include <cmath>
#include <filesystem>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/hardware/calibrated_model.h"
#include "tests/support/shared_data.h"

namespace baton::hardware {
namespace {

const std::string kHeader =
    "model,hardware,prompt_size,batch_size,token_size,prompt_time,token_time,e2e_time,tensor_parallel\n";

std::string ProblemsOf(std::string_view text) {
  const auto rows = ParseBenchmarkCsv(text, "b.csv");
  REQUIRE_FALSE(rows.ok());
  return Message(rows.status());
}

/// Rows of an engine that the formulas describe exactly.
std::vector<BenchmarkRow> MadeRows(const PromptFit& prompt, const TokenFit& token, const std::string& device,
                                   int first_line) {
  const ModelShape& model = **Catalogue::BuiltIn().FindModel("llama2-70b");
  const Device& at = **Catalogue::BuiltIn().FindDevice("a100-80gb");
  std::vector<BenchmarkRow> rows;
  for (const std::int64_t batch : {1, 2, 4, 8, 16, 32, 64}) {
    for (const std::int64_t tokens : {128, 512, 2048}) {
      const std::vector<PromptPiece> pieces(static_cast<std::size_t>(batch), PromptPiece{.tokens = tokens});
      BenchmarkRow row{.model = "llama2-70b",
                       .device = device,
                       .tensor_parallel = 8,
                       .prompt_tokens = tokens,
                       .batch = batch,
                       .output_tokens = 128};
      row.prompt_ms = 1000 * PromptFormula(prompt, model, at, 8, {.prompts = pieces});
      row.token_ms = 1000 * TokenFormula(token, model, at, 8,
                                         {.decodes = batch, .decode_context = batch * (tokens + 64)});
      row.line = first_line + static_cast<int>(rows.size());
      rows.push_back(row);
    }
  }
  return rows;
}

TEST_CASE("a benchmark is read by the names of its columns") {
  const auto rows = ParseBenchmarkCsv(
      "token_size,note,model,hardware,prompt_size,batch_size,prompt_time,token_time,"
      "tensor_parallel\r\n128,x,m,d,512,2,100.5,20,8\r\n\r\n64,y,m,d,256,1,50,19,4",
      "b.csv");
  INFO(rows.status());
  REQUIRE(rows.ok());

  REQUIRE(rows->size() == 2);
  CHECK((*rows)[0].output_tokens == 128);
  CHECK((*rows)[0].prompt_tokens == 512);
  CHECK((*rows)[0].batch == 2);
  CHECK((*rows)[0].prompt_ms == 100.5);
  CHECK((*rows)[0].total_ms == 0);
  CHECK((*rows)[0].line == 2);
  CHECK((*rows)[1].tensor_parallel == 4);
  CHECK((*rows)[1].line == 4);
}

TEST_CASE("every mistake of a benchmark is told with file, line and column") {
  const std::string problems =
      ProblemsOf(kHeader + "m,d,512,1,128,1,1,1,8\nm,d,0,1,128,nan,1,1,8\nm,d,512\n,d,5,1,1,1,1x,1,8\n");

  CHECK_THAT(problems, Catch::Contains("b.csv:3: prompt_size: is \"0\"; write a number from 1 to"));
  CHECK_THAT(problems, Catch::Contains("b.csv:3: prompt_time: is \"nan\""));
  CHECK_THAT(problems, Catch::Contains("b.csv:4: row: has 3 cells; the header has 9"));
  CHECK_THAT(problems, Catch::Contains("b.csv:5: model: is empty"));
  CHECK_THAT(problems, Catch::Contains("b.csv:5: token_time: is \"1x\""));
  CHECK_THAT(ProblemsOf("model,hardware\n"),
             Catch::Contains("b.csv:1: token_time: is missing in the header"));
  CHECK_THAT(ProblemsOf("model,model\n"), Catch::Contains("model: stands in the header twice"));
  CHECK_THAT(ProblemsOf(""), Catch::Contains("header: is missing"));
  CHECK_THAT(ProblemsOf(kHeader), Catch::Contains("rows: there are none"));
  CHECK_THAT(Message(ReadBenchmarkCsv("/nowhere/b.csv").status()), Catch::Contains("/nowhere/b.csv"));
}

TEST_CASE("an engine that the formulas describe is predicted at points that were left out") {
  const std::vector<BenchmarkRow> rows = MadeRows(
      {.layer_us = 300, .efficiency = 0.5, .smooth = 3, .knee_loss = 0.3},
      {.layer_us = 200, .weight_efficiency = 0.8, .kv_efficiency = 0.3, .sequence_us = 2, .crowd_us = 5},
      "a100-80gb", 2);

  const auto report = Calibrate({.rows = rows, .steps = {}}, Catalogue::BuiltIn());

  INFO(report.status());
  REQUIRE(report.ok());
  REQUIRE(report->calibrations.size() == 1);
  CHECK(report->excluded.empty());
  CHECK(report->left_out_points[0].points == 21);
  CHECK(report->left_out_points[0].prompt_mean < 0.02);
  CHECK(report->left_out_points[0].token_mean < 0.01);
  CHECK(report->calibrations[0].prompt.efficiency == Approx(0.5).epsilon(0.1));
  CHECK(report->unseen_configurations.empty());  // there are no others to predict it from
}

TEST_CASE("rows that copy another configuration are left aside, whichever comes first") {
  std::vector<BenchmarkRow> rows = MadeRows({}, {}, "a100-80gb-capped", 2);
  for (BenchmarkRow& row : rows) row.prompt_ms *= 1.3;
  const std::vector<BenchmarkRow> measured = MadeRows({}, {}, "a100-80gb", 100);
  rows.insert(rows.end(), measured.begin(), measured.end());

  const auto report = Calibrate({.rows = rows, .steps = {}}, Catalogue::BuiltIn());

  INFO(report.status());
  REQUIRE(report.ok());
  REQUIRE(report->calibrations.size() == 1);
  CHECK(report->calibrations[0].device == "a100-80gb");
  REQUIRE(report->excluded.size() == 21);
  CHECK(report->excluded[0].device == "a100-80gb-capped");
  CHECK(report->excluded[0].reason ==
        "synthetic: prompt times are exactly 1.3 times those of a100-80gb, token times equal");
}

TEST_CASE("of two files with the same times the second is the copy, though its lines have the same numbers") {
  std::vector<BenchmarkRow> rows = MadeRows({}, {}, "h100-80gb", 2);
  const std::vector<BenchmarkRow> first = rows;
  for (BenchmarkRow& row : rows) row.device = "a100-80gb";
  rows.insert(rows.begin(), first.begin(), first.end());

  const auto report = Calibrate({.rows = rows, .steps = {}}, Catalogue::BuiltIn());

  REQUIRE(report.ok());
  REQUIRE(report->calibrations.size() == 1);
  CHECK(report->calibrations[0].device == "h100-80gb");
}

TEST_CASE("a row whose phases cannot explain its time is left aside") {
  std::vector<BenchmarkRow> rows = MadeRows({}, {}, "a100-80gb", 2);
  for (BenchmarkRow& row : rows) row.total_ms = row.prompt_ms + 127 * row.token_ms;
  rows[5].total_ms *= 3;

  const auto report = Calibrate({.rows = rows, .steps = {}}, Catalogue::BuiltIn());

  REQUIRE(report.ok());
  REQUIRE(report->excluded.size() == 1);
  CHECK(report->excluded[0].prompt_tokens == 2048);
  CHECK(report->excluded[0].batch == 2);
  CHECK_THAT(report->excluded[0].reason, Catch::StartsWith("corrupt: a prompt of"));
}

TEST_CASE("a benchmark of an unknown device, or of too few points, is refused with its line") {
  std::vector<BenchmarkRow> rows = MadeRows({}, {}, "z9", 7);
  CHECK_THAT(Message(Calibrate({.rows = rows, .steps = {}}, Catalogue::BuiltIn()).status()),
             Catch::Contains("line 7: device \"z9\" is not in the catalogue"));
  rows = MadeRows({}, {}, "a100-80gb", 7);
  rows.resize(3);
  CHECK_THAT(Message(Calibrate({.rows = rows, .steps = {}}, Catalogue::BuiltIn()).status()),
             Catch::Contains("3 usable points of prompts; 4 are needed"));
}

TEST_CASE("a calibration is written as a catalogue file and predicts the same when it is read") {
  const auto report =
      Calibrate({.rows = MadeRows({.layer_us = 300}, {.layer_us = 250}, "a100-80gb", 2), .steps = {}},
                Catalogue::BuiltIn());
  REQUIRE(report.ok());

  const auto catalogue = Catalogue::FromText(FormatCalibrationFile(*report), "calibrated.yaml");

  INFO(catalogue.status());
  REQUIRE(catalogue.ok());
  const auto read =
      MakePerfModel(*catalogue, {.model = "llama2-70b", .machine = "dgx-a100"}, PerfKind::kBest);
  REQUIRE(read.ok());
  const auto made = MakeCalibratedModel(report->calibrations[0], **catalogue->FindModel("llama2-70b"),
                                        **catalogue->FindDevice("a100-80gb"));
  for (const std::int64_t decodes : {1, 7, 64}) {
    const StepWork work{.decodes = decodes, .decode_context = decodes * 1000};
    CHECK((*read)->Time(work).seconds == made->Time(work).seconds);
    CHECK((*read)->Time(work).sigma == made->Time(work).sigma);
  }
}

/// Nothing, and a warning, where they are not here.
std::optional<std::vector<BenchmarkRow>> PaperMeasurements() {
  const std::optional<std::string> path = test::SharedData("splitwise-sim/perf_model.csv");
  if (!path) {
    WARN("skipped: the paper's measurements are not here (../shared/data/splitwise-sim/perf_model.csv)");
    return std::nullopt;
  }
  auto rows = ReadBenchmarkCsv(*path);
  REQUIRE(rows.ok());
  return *std::move(rows);
}

TEST_CASE("held out, the paper's measurements are predicted within 8 % for prompts and 3 % for tokens") {
  const auto rows = PaperMeasurements();
  if (!rows) return;

  const auto report = Calibrate({.rows = *rows, .steps = {}}, Catalogue::BuiltIn());

  INFO(report.status());
  REQUIRE(report.ok());
  CHECK(report->left_out_points.size() == 8);
  for (const HeldOutError& error : report->left_out_points) {
    INFO(error.model << " " << error.device << " " << error.tensor_parallel);
    CHECK(error.points >= 18);
    CHECK(error.prompt_mean <= 0.08);
    CHECK(error.token_mean <= 0.03);
    CHECK(error.within_two_sigma >= 0.9);
  }
  CHECK(MeanOf(report->left_out_points).prompt_mean <= 0.05);
  CHECK(MeanOf(report->left_out_points).token_mean <= 0.02);
  std::int64_t synthetic = 0;
  std::int64_t corrupt = 0;
  for (const ExcludedPoint& point : report->excluded) {
    (point.reason.starts_with("synthetic") ? synthetic : corrupt) += point.rows;
  }
  CHECK(synthetic == 4 * 105);
  CHECK(corrupt == 10);
}

TEST_CASE("the built-in calibration is what the paper's measurements give") {
  const auto rows = PaperMeasurements();
  if (!rows) return;
  const auto report = Calibrate({.rows = *rows, .steps = {}}, Catalogue::BuiltIn());
  REQUIRE(report.ok());

  REQUIRE(Catalogue::BuiltIn().Calibrations().size() == report->calibrations.size());
  for (const Calibration& made : report->calibrations) {
    const Calibration* kept =
        Catalogue::BuiltIn().FindCalibration(made.model, made.device, made.tensor_parallel);
    REQUIRE(kept != nullptr);
    CHECK(kept->prompt.efficiency == Approx(made.prompt.efficiency).epsilon(1e-3));
    CHECK(kept->token.sequence_us == Approx(made.token.sequence_us).epsilon(1e-3));
    CHECK(kept->token_sigma == Approx(made.token_sigma).epsilon(1e-3));
    CHECK(kept->token_residual.size() == made.token_residual.size());
  }
}

}  // namespace
}  // namespace baton::hardware
