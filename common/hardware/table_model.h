#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <absl/status/status.h>

#include "common/hardware/perf_model.h"

namespace baton::hardware {

/// A function through knots: straight between them, and beyond the ends as in the first and last piece; where
/// such an end has fallen below 0, the value of the knot that is nearest.
class PiecewiseLinear {
 public:
  /// Equally many of both, at least two, `x` rising.
  PiecewiseLinear(std::vector<double> x, std::vector<double> y);
  [[nodiscard]] double operator()(double x) const;
  [[nodiscard]] bool Covers(double x) const { return x >= x_.front() && x <= x_.back(); }

 private:
  std::vector<double> x_;
  std::vector<double> y_;
};

/// An error where the first piece of the table, prolonged, gives no time for one token or sequence: a machine
/// would take nothing, or less, for its smallest steps. Names table and knots.
[[nodiscard]] absl::Status CheckTable(const TimeTable& table);

/// Bytes of all weights as the paper's simulator counts them; of a model that it has not, what they are.
[[nodiscard]] double ReferenceWeightBytes(const ModelShape& model);

/// Step times of the paper's simulator, its faults included: a step of decodes is looked up by its number of
/// sequences in a table that was measured over tokens of prompts, so that batching costs next to nothing, and
/// a mixed step is 1.1 prompts of all its tokens. Not virtual: the inner loop of a simulation calls it.
class ReferenceTimes {
 public:
  explicit ReferenceTimes(const TimeTable& table);
  /// Seconds. `prompts` and `decodes` count sequences, `tokens` sums the prompts' tokens.
  [[nodiscard]] double Seconds(std::int64_t prompts, std::int64_t tokens, std::int64_t decodes) const;
  /// A prompt alone, and a token of a request with a prompt of so many: what the paper's objectives are
  /// measured against. Seconds.
  [[nodiscard]] double PromptSeconds(double tokens) const { return prompt_(tokens); }
  [[nodiscard]] double TokenSeconds(double key) const { return token_(key); }
  [[nodiscard]] bool Covers(std::int64_t tokens) const;

 private:
  PiecewiseLinear prompt_;
  PiecewiseLinear token_;
};

[[nodiscard]] std::unique_ptr<PerfModel> MakeReferenceModel(const TimeTable& table);
/// Decoding by the key that the table was measured with: tokens of context, all sequences together.
[[nodiscard]] std::unique_ptr<PerfModel> MakeTableModel(const TimeTable& table);

}  // namespace baton::hardware
