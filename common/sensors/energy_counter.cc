#include "common/sensors/energy_counter.h"

namespace baton::sensors {

std::uint64_t EnergyCounter::Advance(std::uint64_t raw) {
  std::uint64_t rise = raw - last_;
  if (raw < last_) {
    const std::uint64_t wrapped = range_ > last_ ? range_ - last_ + raw : raw;
    rise = range_ > 0 && wrapped < range_ / 2 ? wrapped : raw;
  }
  last_ = raw;
  total_ += rise;
  return total_;
}

}  // namespace baton::sensors
