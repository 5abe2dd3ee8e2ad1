#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace baton::kernels::cpu {

/// cos and sin of position * inverse frequency, computed in double and kept as f32: all layers of a step ask
/// for the same.
class RopeTable {
 public:
  /// Makes sure that positions [0, last] of `inverse_frequencies` are there.
  void Prepare(std::span<const double> inverse_frequencies, std::int64_t last);
  /// [pairs] cosines, then [pairs] sines, of a prepared position.
  [[nodiscard]] const float* At(std::int64_t position) const {
    return values_.data() + position * 2 * static_cast<std::int64_t>(frequencies_.size());
  }

 private:
  std::vector<double> frequencies_;
  std::vector<float> values_;
  std::int64_t positions_ = 0;
};

}  // namespace baton::kernels::cpu
