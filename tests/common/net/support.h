#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <utility>

#include <catch2/catch.hpp>

#include "common/net/event_loop.h"

namespace baton::net {

// Far more than any step takes, also under a sanitizer on a loaded machine; nobody waits this long unless a
// test fails.
inline constexpr auto kPatience = std::chrono::seconds(20);

/// A value that one thread changes and another waits for.
template <typename T>
class Watched {
 public:
  explicit Watched(T value = {}) : value_(std::move(value)) {}

  template <typename Change>
  void Update(Change change) {
    const std::scoped_lock lock(mutex_);
    change(value_);
    changed_.notify_all();  // under the lock: who waits may destroy this as soon as it is free
  }
  void Set(T value) {
    Update([&](T& v) { v = std::move(value); });
  }
  /// False where `condition` does not come true in time.
  template <typename Condition>
  [[nodiscard]] bool WaitFor(Condition condition) {
    std::unique_lock lock(mutex_);
    // The system's clock: ThreadSanitizer of GCC 12 does not know the wait that the steady one takes.
    return changed_.wait_until(lock, std::chrono::system_clock::now() + kPatience,
                               [&] { return condition(value_); });
  }
  [[nodiscard]] T Get() const {
    const std::scoped_lock lock(mutex_);
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  T value_;
};

/// Something that happens once.
class Signal {
 public:
  void Raise() { raised_.Set(true); }
  [[nodiscard]] bool Wait() {
    return raised_.WaitFor([](bool raised) { return raised; });
  }
  [[nodiscard]] bool Raised() const { return raised_.Get(); }

 private:
  Watched<bool> raised_;
};

/// Runs `work` on the loop's thread and waits for it.
inline void OnLoop(EventLoop& loop, const std::function<void()>& work) {
  Signal done;
  loop.Post([&] {
    work();
    done.Raise();
  });
  REQUIRE(done.Wait());
}

inline std::size_t OpenDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace baton::net
