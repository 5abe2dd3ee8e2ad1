#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace baton::kernels::cpu {

/// Threads that share the work of one operation; the calling thread is one of them. Owned by a backend, used
/// from one thread at a time.
class ThreadPool {
 public:
  /// `threads` in all, the caller's included; at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Calls `work(index, thread)` once for each index in [0, count), in any order, on threads 0 to
  /// Threads()-1, and returns when all are done. What is written before is seen by all, what they write is
  /// seen after.
  void ParallelFor(std::int64_t count, const std::function<void(std::int64_t index, int thread)>& work);
  [[nodiscard]] int Threads() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace baton::kernels::cpu
