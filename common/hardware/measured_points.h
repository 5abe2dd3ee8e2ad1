#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <absl/status/statusor.h>
#include <fmt/format.h>

#include "common/hardware/calibrate.h"
#include "common/hardware/perf_model.h"

/// Measurements as what a fit needs. Private to this module.
namespace baton::hardware {

/// Alike measurements: of a step of prompts, of a step of decodes, or (a benchmark's) of both.
struct MeasuredPoint {
  std::vector<PromptPiece> prompts;  // of the prompt's step
  std::int64_t decodes = 0;          // sequences of the decode step
  double context = 0;                // tokens of each of them, in the mean
  double prompt_s = 0;               // medians
  double token_s = 0;
  /// What the held-out error is taken against, seconds; empty where that phase was not measured.
  std::vector<double> prompt_times;
  std::vector<double> token_times;
  std::array<std::int64_t, 3> shape{};  // points that have it in common differ little

  [[nodiscard]] StepWork PromptWork() const { return {.prompts = prompts}; }
  [[nodiscard]] StepWork TokenWork() const;
  [[nodiscard]] std::int64_t PromptTokens() const;
};

struct MeasuredConfiguration {
  ModelShape model;
  Device device;
  int tensor_parallel = 1;
  std::vector<MeasuredPoint> points;
};

struct GroupedPoints {
  std::vector<MeasuredConfiguration> configurations;  // by model, device, degree
  std::vector<ExcludedPoint> excluded;
};

/// See Calibrate for what is excluded and for the errors.
[[nodiscard]] absl::StatusOr<GroupedPoints> GroupRows(std::span<const BenchmarkRow> rows,
                                                      const Catalogue& catalogue);
[[nodiscard]] absl::StatusOr<GroupedPoints> GroupSteps(std::span<const StepRow> steps,
                                                       const Catalogue& catalogue);
/// Both of them; an error where a phase of a configuration has too few or too many points.
[[nodiscard]] absl::StatusOr<GroupedPoints> GroupAll(const Measurements& measured,
                                                     const Catalogue& catalogue);

/// Model, device, degree: of whom rows are.
using ConfigurationKey = std::tuple<std::string, std::string, int>;
/// Without points yet; an error, which begins with `where`, if the catalogue lacks model or device.
[[nodiscard]] absl::StatusOr<MeasuredConfiguration> ConfigurationOf(const ConfigurationKey& key,
                                                                    const std::string& where,
                                                                    const Catalogue& catalogue);
/// "path:line", "line 7" without a path.
template <typename Row>
[[nodiscard]] std::string Where(const Row& row) {
  return row.file == nullptr ? fmt::format("line {}", row.line) : fmt::format("{}:{}", *row.file, row.line);
}
[[nodiscard]] double Median(std::vector<double> values);

}  // namespace baton::hardware
