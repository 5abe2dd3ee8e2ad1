#pragma once

#include <array>
#include <span>
#include <vector>

#include "common/hardware/calibration.h"

namespace baton::hardware {

/// How alike two points are: amplitude^2 exp(-(distances in octaves / scales)^2 / 2).
struct ResidualKernel {
  double amplitude = 0.1;   // of ln(measured / formula), where nothing is known
  double noise = 0.01;      // of one point
  double tokens_scale = 1;  // octaves
  double spread_scale = 4;  // octaves
};

/// What a formula lacks, between and near measured points; nothing far from them. Regression with a Gaussian
/// process over the logarithms. Immutable.
class ResidualCurve {
 public:
  struct Value {
    double mean = 0;   // of ln(true / formula)
    double sigma = 0;  // how uncertain: near 0 at a point, the kernel's amplitude far from all
  };

  ResidualCurve(std::span<const ResidualPoint> points, const ResidualKernel& kernel);
  [[nodiscard]] Value At(double tokens, double spread) const;
  /// Whether both lie within what the points span. Without points nothing does.
  [[nodiscard]] bool Covers(double tokens, double spread) const;

 private:
  struct Place {
    double tokens = 0;  // log2
    double spread = 0;
  };
  [[nodiscard]] double Alike(const Place& a, const Place& b) const;

  ResidualKernel kernel_;
  std::vector<Place> places_;
  std::vector<double> weights_;   // of each place in a mean
  std::vector<double> triangle_;  // Cholesky factor of the covariance, lower, by rows
  Place low_;
  Place high_;
};

}  // namespace baton::hardware
