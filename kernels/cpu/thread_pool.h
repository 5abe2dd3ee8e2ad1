#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace baton::kernels::cpu {

/// Threads that share the work of one operation; the calling thread is one of them. Owned by a backend, used
/// from one thread at a time.
class ThreadPool {
 public:
  /// `threads` in all, the caller's included; at least 1. Thread i, the caller (0) apart, runs on cores[i]
  /// from its start on; with no cores, anywhere.
  explicit ThreadPool(int threads, const std::vector<int>& cores = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Calls `work(index, thread)` once for each index in [0, count), in any order, on threads 0 to
  /// Threads()-1, and returns when all are done. What is written before is seen by all, what they write is
  /// seen after. `work` is not copied: a step's hundreds of loops allocate nothing.
  template <typename Work>
  void ParallelFor(std::int64_t count, const Work& work) {
    Run(count, {.object = &work, .call = [](const void* object, std::int64_t index, int thread) {
                  (*static_cast<const Work*>(object))(index, thread);
                }});
  }
  [[nodiscard]] int Threads() const;

 private:
  struct Loop {
    const void* object = nullptr;
    void (*call)(const void* object, std::int64_t index, int thread) = nullptr;
  };
  struct State;
  void Run(std::int64_t count, Loop loop);
  std::unique_ptr<State> state_;
};

}  // namespace baton::kernels::cpu
