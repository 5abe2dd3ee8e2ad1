#pragma once

#include <chrono>
#include <cstdint>

/// Time: 64-bit nanoseconds on a monotonic clock. Decisions never read a clock; they are handed a
/// `TimePoint`.
namespace baton {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// Where a component gets its time. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint Now() const = 0;
};

/// The operating system's monotonic clock.
class SteadyClock final : public Clock {
 public:
  [[nodiscard]] TimePoint Now() const override { return std::chrono::steady_clock::now(); }
};

/// A clock moved by hand: tests and the simulator. Not thread-safe.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] TimePoint Now() const override { return now_; }
  void Advance(Duration by) { now_ += by; }
  void Set(TimePoint now) { now_ = now; }

 private:
  TimePoint now_{};
};

/// `duration` in seconds, for metrics and messages.
[[nodiscard]] inline double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}
/// `duration` in milliseconds, for messages.
[[nodiscard]] inline double Milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace baton
