#include "kernels/cpu/rope_table.h"

#include <algorithm>
#include <cmath>

namespace baton::kernels::cpu {

namespace {

/// Positions made when the first one is asked for: a worker does that before it is ready (8 to 20 ms), and no
/// answer waits for them in its first step there.
constexpr std::int64_t kAtFirst = 16384;
/// And with each that is missing later: an answer waits a millisecond for them, once.
constexpr std::int64_t kAhead = 1024;

}  // namespace

void RopeTable::Prepare(std::span<const double> inverse_frequencies, std::int64_t last) {
  if (!std::ranges::equal(frequencies_, inverse_frequencies)) {
    frequencies_.assign(inverse_frequencies.begin(), inverse_frequencies.end());
    positions_ = 0;
  }
  if (last < positions_) return;
  const std::int64_t wanted = std::max(last + kAhead, kAtFirst);
  const auto pairs = static_cast<std::int64_t>(frequencies_.size());
  values_.resize(static_cast<std::size_t>(wanted * 2 * pairs));
  for (std::int64_t position = positions_; position < wanted; ++position) {
    float* at = values_.data() + position * 2 * pairs;
    for (std::int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(position) * frequencies_[static_cast<std::size_t>(i)];
      at[i] = static_cast<float>(std::cos(angle));
      at[pairs + i] = static_cast<float>(std::sin(angle));
    }
  }
  positions_ = wanted;
}

}  // namespace baton::kernels::cpu
