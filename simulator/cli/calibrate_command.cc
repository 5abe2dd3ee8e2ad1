#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/hardware/calibrate.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/report/table.h"
#include "simulator/trace/trace_file.h"

namespace baton::simulator::cli {
namespace {

struct CalibrateOptions {
  std::string input;
  std::string catalogue;
  std::string out;
  std::string engine;
  std::string output = "table";
};

std::vector<std::string> RowOf(const char* what, const hardware::HeldOutError& error) {
  const auto percent = [](double share) { return fmt::format("{:.1f}", share * 100); };
  return {what,
          error.model,
          error.device,
          fmt::format("{}", error.tensor_parallel),
          fmt::format("{}", error.points),
          percent(error.prompt_mean),
          percent(error.prompt_worst),
          percent(error.token_mean),
          percent(error.token_worst),
          percent(error.within_two_sigma)};
}

/// Points of one configuration that are left aside for one reason, together.
Table ExcludedTable(const std::vector<hardware::ExcludedPoint>& points) {
  Table table{.header = {"not used", "device", "tp", "points", "rows", "reason"}, .rows = {}};
  for (std::size_t i = 0; i < points.size();) {
    const hardware::ExcludedPoint& first = points[i];
    std::int64_t count = 0;
    std::int64_t rows = 0;
    for (; i < points.size() && points[i].reason == first.reason && points[i].model == first.model &&
           points[i].device == first.device && points[i].tensor_parallel == first.tensor_parallel;
         ++i) {
      ++count;
      rows += points[i].rows;
    }
    table.rows.push_back({first.model, first.device, fmt::format("{}", first.tensor_parallel),
                          fmt::format("{}", count), fmt::format("{}", rows), first.reason});
  }
  return table;
}

int DoCalibrate(const CalibrateOptions& options) {
  const auto catalogue = LoadCatalogue(options.catalogue);
  if (!catalogue.ok()) return Fail(catalogue.status());
  const auto rows = hardware::ReadBenchmarkCsv(options.input);
  if (!rows.ok()) return Fail(rows.status());
  auto report = hardware::Calibrate(*rows, **catalogue);
  if (!report.ok()) return Fail(Annotate(report.status(), options.input));
  for (hardware::Calibration& calibration : report->calibrations) calibration.engine = options.engine;
  Table table{.header = {"left_out", "model", "device", "tp", "points", "prompt_%", "worst_%", "token_%",
                         "worst_token_%", "within_2_sigma_%"},
              .rows = {}};
  const auto add = [&](const char* what, const std::vector<hardware::HeldOutError>& errors) {
    for (const hardware::HeldOutError& error : errors) table.rows.push_back(RowOf(what, error));
    if (errors.size() > 1) table.rows.push_back(RowOf(what, hardware::MeanOf(errors)));
  };
  add("one point", report->left_out_points);
  add("one shape", report->left_out_shapes);
  add("configuration", report->unseen_configurations);
  fmt::print("{}", Render(table, options.output));
  if (options.output == "table" && !report->excluded.empty()) {
    fmt::print("\n{}", ExcludedTable(report->excluded).AsText());
  }
  if (options.out.empty()) return kOk;
  const absl::Status written = WriteText(options.out, hardware::FormatCalibrationFile(*report));
  return written.ok() ? kOk : Fail(written);
}

}  // namespace

void AddCalibrate(CLI::App& app, int& exit_code) {
  auto* calibrate = app.add_subcommand(
      "calibrate", "Fits step times to measurements, and says how wrong they are on others");
  auto options = std::make_shared<CalibrateOptions>();
  calibrate
      ->add_option(
          "FILE", options->input,
          "CSV: model,hardware,tensor_parallel,prompt_size,batch_size,token_size,prompt_time,token_time "
          "(ms)")
      ->required();
  calibrate->add_option("--catalogue", options->catalogue, "YAML file with models and devices of yours");
  calibrate->add_option("--out", options->out,
                        "Catalogue file to write, for --catalogue of the other commands");
  calibrate
      ->add_option("--engine", options->engine,
                   "What was measured, in words, which the other commands then say: 'baton 0.1 bf16'")
      ->check([](const std::string& text) {
        return text.size() > hardware::kEngineWordsMax
                   ? fmt::format("{} bytes; at most {}", text.size(), hardware::kEngineWordsMax)
                   : std::string();
      });
  calibrate->add_option("--output", options->output, "table, json or csv")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
  calibrate->footer("Example: baton-sim calibrate perf_model.csv --out calibrated.yaml");
  RunsAs(*calibrate, exit_code, [=] { return DoCalibrate(*options); });
}

}  // namespace baton::simulator::cli
