#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/catalogue.h"
#include "common/hardware/measurements.h"

/// Fits the calibrated model to measured steps, and says how wrong it is on what it was not shown.
namespace baton::hardware {

/// A point of a benchmark is all rows of one {model, device, degree, prompt, batch, output}; of telemetry,
/// the steps of prompts alone or of decodes alone that are alike: equal to half an octave in prompts, tokens
/// and cached tokens, or in sequences and context. Why one was not used (of telemetry many at once, without
/// sizes):
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

/// Mean and worst relative error of one configuration, over points; of a point, the mean over its rows, for
/// telemetry that of its step of the median time.
struct HeldOutError {
  std::string model;
  std::string device;
  int tensor_parallel = 1;
  std::int64_t points = 0;
  std::int64_t prompt_points = 0;  // of these, with a time of prompts
  std::int64_t token_points = 0;
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
  /// for data that repeats one prompt with many outputs. Of telemetry: all with its tokens of prompts, or its
  /// number of decodes.
  std::vector<HeldOutError> left_out_shapes;
  /// Each configuration predicted from other configurations, those of its device where there are any. Empty
  /// where there is one configuration.
  std::vector<HeldOutError> unseen_configurations;
};

/// The mean over configurations' points; "all" in place of names.
[[nodiscard]] HeldOutError MeanOf(std::span<const HeldOutError> errors);

/// Errors name the line of a row whose model or device the catalogue lacks, and a configuration with fewer
/// than four points of either phase. Left aside and listed: rows that copy another configuration, points
/// whose phases cannot explain their total time, steps that mix prompts and decodes, and kinds of steps that
/// occurred less than three times.
[[nodiscard]] absl::StatusOr<CalibrationReport> Calibrate(const Measurements& measured,
                                                          const Catalogue& catalogue);

/// `report.calibrations` as a catalogue file, which Catalogue::Load reads.
[[nodiscard]] std::string FormatCalibrationFile(const CalibrationReport& report);

}  // namespace baton::hardware
