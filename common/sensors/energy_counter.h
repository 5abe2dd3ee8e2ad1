#pragma once

#include <cstdint>

namespace baton::sensors {

/// A hardware's energy counter made one that only rises. Pure but for what it remembers.
class EnergyCounter {
 public:
  /// It stands at `first`; `range`: the value after which it begins at 0 again, 0: it does not wrap.
  explicit EnergyCounter(std::uint64_t first, std::uint64_t range = 0) : last_(first), range_(range) {}
  /// What it has counted since it was made, in its own unit, now that it stands at `raw`. A fall is a wrap
  /// where that means less than half a range; otherwise the counter was begun anew, and what it had not told
  /// is lost.
  std::uint64_t Advance(std::uint64_t raw);

 private:
  std::uint64_t last_;
  std::uint64_t range_;
  std::uint64_t total_ = 0;
};

}  // namespace baton::sensors
