#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "simulator/run.h"

/// Statistics of runs: quantiles, intervals over seeds, and whether a run was stable at all.
namespace baton::simulator {

/// Between the two nearest values linearly, as the reference has it. `sorted` is rising and not empty.
[[nodiscard]] double SortedQuantile(std::span<const double> sorted, double q);
/// The same of values in any order, which it sorts.
[[nodiscard]] double QuantileOf(std::vector<double> values, double q);

struct MeanInterval {
  double mean = 0;
  double half_width = 0;  // infinite with fewer than two values
};
/// Mean over seeds with Student's confidence interval: holds the true mean with probability `confidence`.
[[nodiscard]] MeanInterval ConfidenceInterval(std::span<const double> values, double confidence = 0.95);
/// Student's t: P(T <= t) = p with `degrees` degrees of freedom.
[[nodiscard]] double StudentQuantile(double p, int degrees);

/// Mean number of requests that waited, for a prompt's start or a second token, between two times.
[[nodiscard]] double MeanWaiting(const Workload& workload, const RunResult& result, double from_s,
                                 double to_s);

/// Whether the fleet falls behind: over the last fifth of the arrivals' time clearly more requests wait than
/// around its middle. "Clearly" is a factor of 1.4, and a hundredth of what arrived in between: a fleet that
/// is 3 % too small shows, a queue that breathes does not. Quantiles of an unstable run say how long the
/// trace is, not how good the fleet is.
[[nodiscard]] bool BacklogGrows(const Workload& workload, const RunResult& result);

}  // namespace baton::simulator
