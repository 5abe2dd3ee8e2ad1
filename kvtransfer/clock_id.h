#pragma once

#include <cstdint>

namespace baton::kvtransfer {

/// Names the clock that `std::chrono::steady_clock` reads here: this boot of this machine, in this time
/// namespace. Two processes with the same one can compare their times; 0 where it cannot be told.
[[nodiscard]] std::uint64_t ClockId();

}  // namespace baton::kvtransfer
