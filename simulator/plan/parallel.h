#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

namespace baton::simulator {

/// `jobs`, or all processors where it is 0.
[[nodiscard]] inline int JobsOrAll(int jobs) {
  return jobs > 0 ? jobs : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Calls `work(0)` to `work(count - 1)`, each once, on `jobs` threads and in no order. `work` writes to
/// places of its own; what it returns is thus the same for any number of jobs.
inline void ParallelFor(std::size_t count, int jobs, const std::function<void(std::size_t)>& work) {
  const std::size_t threads = std::min(static_cast<std::size_t>(JobsOrAll(jobs)), count);
  if (threads <= 1) {
    for (std::size_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> pool;
  for (std::size_t t = 0; t < threads; ++t) {
    pool.emplace_back([&] {
      for (std::size_t i = next++; i < count; i = next++) work(i);
    });
  }
  for (std::thread& thread : pool) thread.join();
}

}  // namespace baton::simulator
