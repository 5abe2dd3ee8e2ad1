#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/benchmark_rows.h"
#include "common/hardware/catalogue.h"

/// Fits the calibrated model to measured steps, and says how wrong it is on what it was not shown.
namespace baton::hardware {

/// A point is all rows of one {model, device, degree, prompt, batch, output}. Why one was not used:
struct ExcludedPoint {
  std::string model;
  std::string device;
  int tensor_parallel = 1;
  std::int64_t prompt_tokens = 0;
  std::int64_t batch = 1;
  std::int64_t output_tokens = 0;
  std::int64_t rows = 0;
  std::string reason;
};

/// Mean and worst relative error of one configuration, over points; of a point, the mean over its rows.
struct HeldOutError {
  std::string model;
  std::string device;
  int tensor_parallel = 1;
  std::int64_t points = 0;
  double prompt_mean = 0;
  double prompt_worst = 0;
  double token_mean = 0;
  double token_worst = 0;
  double within_two_sigma = 0;  // share of predictions, both kinds; a normal error gives 0.95
};

struct CalibrationReport {
  std::vector<Calibration> calibrations;  // by model, device, degree
  std::vector<ExcludedPoint> excluded;
  /// Each point predicted from the other points of its configuration and the other configurations.
  std::vector<HeldOutError> left_out_points;
  /// The same, but all points with the point's prompt and batch are left out, whatever their output: stricter
  /// for data that repeats one prompt with many outputs.
  std::vector<HeldOutError> left_out_shapes;
  /// Each configuration predicted from other configurations of its device only.
  std::vector<HeldOutError> unseen_configurations;
};

/// The mean over configurations' points; "all" in place of names.
[[nodiscard]] HeldOutError MeanOf(std::span<const HeldOutError> errors);

/// Errors name the line of a row whose model or device the catalogue lacks, and a configuration with fewer
/// than four points. Rows that copy another configuration, and points whose phases cannot explain their total
/// time, are left aside and listed.
[[nodiscard]] absl::StatusOr<CalibrationReport> Calibrate(std::span<const BenchmarkRow> rows,
                                                          const Catalogue& catalogue);

/// `report.calibrations` as a catalogue file, which Catalogue::Load reads.
[[nodiscard]] std::string FormatCalibrationFile(const CalibrationReport& report);

}  // namespace baton::hardware
