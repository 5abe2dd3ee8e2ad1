#pragma once

#include <cstdint>
#include <optional>

namespace baton::metrics {

/// What the operating system says about this process (/proc/self).
struct ProcessUsage {
  std::uint64_t resident_bytes = 0;
  double cpu_seconds = 0;
  std::uint64_t open_descriptors = 0;
  double start_time_seconds = 0;  // since 1970
};

/// Nothing where /proc is not mounted.
[[nodiscard]] std::optional<ProcessUsage> ReadProcessUsage();

}  // namespace baton::metrics
