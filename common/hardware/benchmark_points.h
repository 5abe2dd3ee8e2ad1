#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/calibrate.h"
#include "common/hardware/perf_model.h"

/// Rows of a benchmark as what a fit needs. Private to this module.
namespace baton::hardware {

/// All rows of one {prompt, batch, output} of a configuration; times are their medians.
struct BenchmarkPoint {
  std::int64_t prompt_tokens = 0;
  std::int64_t batch = 0;
  std::int64_t output_tokens = 0;
  double prompt_s = 0;
  double token_s = 0;
  double context = 0;                // of each sequence, mean over its decoding
  std::vector<PromptPiece> prompts;  // of the prompt phase
  std::vector<BenchmarkRow> rows;

  [[nodiscard]] StepWork PromptWork() const { return {.prompts = prompts}; }
  [[nodiscard]] StepWork TokenWork() const;
};

struct BenchmarkConfiguration {
  ModelShape model;
  Device device;
  int tensor_parallel = 1;
  std::vector<BenchmarkPoint> points;
};

struct GroupedRows {
  std::vector<BenchmarkConfiguration> configurations;  // by model, device, degree
  std::vector<ExcludedPoint> excluded;
};

/// See Calibrate for what is excluded and for the errors.
[[nodiscard]] absl::StatusOr<GroupedRows> GroupRows(std::span<const BenchmarkRow> rows,
                                                    const Catalogue& catalogue);

}  // namespace baton::hardware
