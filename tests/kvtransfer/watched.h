#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace baton::test {

/// A value that other threads change and a test waits for. Thread-safe.
template <typename T>
class Watched {
 public:
  template <typename F>
  void Update(F change) {
    const std::scoped_lock lock(mutex_);
    change(value_);
    changed_.notify_all();  // under the lock: who waits may destroy this as soon as it sees the value
  }
  /// True once `condition` of the value holds; false where it does not within the patience.
  template <typename F>
  [[nodiscard]] bool WaitFor(F condition, std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex_);
    // The system's clock: ThreadSanitizer of GCC 12 does not know the wait that the steady one takes.
    return changed_.wait_until(lock, std::chrono::system_clock::now() + patience,
                               [&] { return condition(std::as_const(value_)); });
  }
  [[nodiscard]] T Get() {
    const std::scoped_lock lock(mutex_);
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  T value_{};
};

}  // namespace baton::test
