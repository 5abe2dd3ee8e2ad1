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
  std::vector<std::string> inputs;
  std::string model;
  std::string hardware;
  std::vector<std::string> catalogues;
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

/// Calls what the files call `field` by `name`; an error where that would make one of several.
template <typename Row>
absl::Status Rename(std::vector<Row>& rows, std::string Row::*field, const std::string& name,
                    std::string_view option, std::string& only) {
  for (Row& row : rows) {
    if (only.empty()) only = row.*field;
    if (row.*field != only)
      return Error(kInvalidArgument, "{}:{}: {} {} would be both \"{}\" and \"{}\"", *row.file, row.line,
                   option, name, only, row.*field);
    row.*field = name;
  }
  return absl::OkStatus();
}

absl::Status RenameAll(const CalibrateOptions& options, hardware::Measurements& measured) {
  using hardware::BenchmarkRow;
  using hardware::StepRow;
  std::string model;
  std::string device;
  if (!options.model.empty()) {
    BATON_RETURN_IF_ERROR(Rename(measured.rows, &BenchmarkRow::model, options.model, "--model", model));
    BATON_RETURN_IF_ERROR(Rename(measured.steps, &StepRow::model, options.model, "--model", model));
  }
  if (!options.hardware.empty()) {
    BATON_RETURN_IF_ERROR(
        Rename(measured.rows, &BenchmarkRow::device, options.hardware, "--hardware", device));
    BATON_RETURN_IF_ERROR(Rename(measured.steps, &StepRow::device, options.hardware, "--hardware", device));
  }
  return absl::OkStatus();
}

int DoCalibrate(const CalibrateOptions& options) {
  const auto catalogue = LoadCatalogue(options.catalogues);
  if (!catalogue.ok()) return Fail(catalogue.status());
  auto measured = hardware::ReadMeasurements(options.inputs);
  if (!measured.ok()) return Fail(measured.status());
  if (const absl::Status renamed = RenameAll(options, *measured); !renamed.ok()) return Fail(renamed);
  auto report = hardware::Calibrate(*measured, **catalogue);
  if (report.status().code() == kNotFound) {
    return Fail(Error(kNotFound, "{}; --model and --hardware say what it calls what the files name",
                      Message(report.status())));
  }
  if (!report.ok()) return Fail(report.status());
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
          "FILES", options->inputs,
          "A benchmark, CSV: model,hardware,tensor_parallel,prompt_size,batch_size,token_size,prompt_time,"
          "token_time (ms); or telemetry of workers (telemetry.steps_file), a prefill and a decode worker's")
      ->required();
  AddCatalogueOption(*calibrate, options->catalogues, "YAML file with models and devices of yours");
  calibrate->add_option("--model", options->model,
                        "What the catalogue calls the files' one model; default: as they do");
  calibrate->add_option("--hardware", options->hardware,
                        "The device of the catalogue that the files' one hardware is; default: as they say");
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
  calibrate->footer(
      "Examples:\n  baton-sim calibrate perf_model.csv --out calibrated.yaml\n"
      "  baton-sim calibrate prefill-0.steps.csv decode-0.steps.csv --model llama-3-8b --hardware h100-80gb "
      "--out calibrated.yaml");
  RunsAs(*calibrate, exit_code, [=] { return DoCalibrate(*options); });
}

}  // namespace baton::simulator::cli
