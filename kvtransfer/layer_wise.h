#pragma once

#include <cstdint>
#include <limits>

#include "common/base/clock.h"

namespace baton::kvtransfer {

/// What a message costs beside its time on the wire: a few wake-ups and posts on either side, which the
/// sender takes from its computing. Measured: 0.3 to 0.5 ms on both sides together, some four threads of
/// which two are the sender's (perf/results/handoff.md).
inline constexpr Duration kMessageCost = std::chrono::microseconds(100);
/// Of a peer whose speed nobody has measured yet.
inline constexpr std::uint64_t kLayerWiseBytesUnknown = 512U << 10;

/// From how many bytes of one layer on they are sent while the next layer is computed: pure. Sending them
/// early hides their time on the wire, at most the time of a layer, and costs a message: it has to hide twice
/// that. Where a layer is computed faster, nothing is worth sending before the prompt is done.
[[nodiscard]] constexpr std::uint64_t LayerWiseBytesMin(double bytes_per_second, Duration layer) {
  if (layer < 2 * kMessageCost) return std::numeric_limits<std::uint64_t>::max();
  if (bytes_per_second <= 0) return kLayerWiseBytesUnknown;
  const double bytes = bytes_per_second * Seconds(2 * kMessageCost);
  constexpr double kMost = 1ULL << 40;
  return bytes < 1 ? 1 : static_cast<std::uint64_t>(bytes < kMost ? bytes : kMost);
}

}  // namespace baton::kvtransfer
