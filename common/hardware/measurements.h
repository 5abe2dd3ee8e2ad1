#pragma once

#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/benchmark_rows.h"
#include "common/hardware/step_rows.h"

namespace baton::hardware {

/// What was measured: a benchmark's rows, workers' steps, or both.
struct Measurements {
  std::vector<BenchmarkRow> rows;
  std::vector<StepRow> steps;
};

/// Each file is a benchmark or telemetry, which its header says. Errors name file, line and column;
/// those of rows whose model or device the catalogue lacks, in Calibrate, name file and line. Of telemetry
/// whose last line breaks off, as when a worker writes it or its disk was full, that line is not read.
[[nodiscard]] absl::StatusOr<Measurements> ReadMeasurements(std::span<const std::string> paths);

}  // namespace baton::hardware
