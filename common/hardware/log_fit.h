#pragma once

#include <functional>
#include <span>
#include <vector>

namespace baton::hardware {

/// A positive parameter: where it is expected, and how far from there it may well be (of its logarithm).
struct LogPrior {
  double value = 1;
  double sigma = 0.3;
};

/// Parameters that make all `errors` small and stay near `priors`: least squares over their logarithms.
/// `errors` fills one number for each observation, in units of its expected size. Levenberg-Marquardt with
/// derivatives by differences; deterministic.
[[nodiscard]] std::vector<double> FitPositive(
    std::span<const LogPrior> priors, std::size_t observations,
    const std::function<void(std::span<const double> parameters, std::span<double> errors)>& errors);

}  // namespace baton::hardware
