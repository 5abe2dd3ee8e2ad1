#include "common/hardware/residual.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"

namespace baton::hardware {

ResidualCurve::ResidualCurve(std::span<const ResidualPoint> points, const ResidualKernel& kernel)
    : kernel_(kernel) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  low_ = {.tokens = kInfinity, .spread = kInfinity};
  high_ = {.tokens = -kInfinity, .spread = -kInfinity};
  for (const ResidualPoint& point : points) {
    places_.push_back({.tokens = std::log2(point.tokens), .spread = std::log2(point.spread)});
    low_.tokens = std::min(low_.tokens, places_.back().tokens);
    low_.spread = std::min(low_.spread, places_.back().spread);
    high_.tokens = std::max(high_.tokens, places_.back().tokens);
    high_.spread = std::max(high_.spread, places_.back().spread);
    weights_.push_back(point.log_ratio);
  }
  const std::size_t n = places_.size();
  triangle_.assign(n * n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = Alike(places_[i], places_[j]) + (i == j ? kernel_.noise * kernel_.noise : 0);
      for (std::size_t k = 0; k < j; ++k) sum -= triangle_[i * n + k] * triangle_[j * n + k];
      triangle_[i * n + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / triangle_[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) weights_[i] -= triangle_[i * n + k] * weights_[k];
    weights_[i] /= triangle_[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) weights_[i] -= triangle_[k * n + i] * weights_[k];
    weights_[i] /= triangle_[i * n + i];
  }
}

double ResidualCurve::Alike(const Place& a, const Place& b) const {
  const double tokens = (a.tokens - b.tokens) / kernel_.tokens_scale;
  const double spread = (a.spread - b.spread) / kernel_.spread_scale;
  return kernel_.amplitude * kernel_.amplitude * std::exp(-0.5 * (tokens * tokens + spread * spread));
}

ResidualCurve::Value ResidualCurve::At(double tokens, double spread) const {
  BATON_CHECK(tokens > 0 && spread > 0, "{} tokens, spread {}", tokens, spread);
  const Place place{.tokens = std::log2(tokens), .spread = std::log2(spread)};
  const std::size_t n = places_.size();
  Value value;
  double known = 0;  // of the variance
  std::vector<double> row(n);
  for (std::size_t i = 0; i < n; ++i) {
    row[i] = Alike(place, places_[i]);
    value.mean += row[i] * weights_[i];
    for (std::size_t k = 0; k < i; ++k) row[i] -= triangle_[i * n + k] * row[k];
    row[i] /= triangle_[i * n + i];
    known += row[i] * row[i];
  }
  value.sigma = std::sqrt(std::max(kernel_.amplitude * kernel_.amplitude - known, 0.0));
  return value;
}

bool ResidualCurve::Covers(double tokens, double spread) const {
  constexpr double kSlack = 1e-9;  // log2 of an end itself may round
  const double t = std::log2(tokens);
  const double s = std::log2(spread);
  return t >= low_.tokens - kSlack && t <= high_.tokens + kSlack && s >= low_.spread - kSlack &&
         s <= high_.spread + kSlack;
}

}  // namespace baton::hardware
