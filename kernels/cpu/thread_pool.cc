#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "common/base/check.h"

namespace baton::kernels::cpu {

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  std::vector<std::thread> workers;
  bool stop = false;                                             // guarded by mutex
  std::atomic<std::uint64_t> job{0};                             // its number; changed under mutex
  const std::function<void(std::int64_t, int)>* work = nullptr;  // guarded by mutex
  std::int64_t count = 0;                                        // guarded by mutex
  alignas(64) std::atomic<std::int64_t> next{0};                 // next index of the job
  alignas(64) std::atomic<int> finished{0};                      // workers that have left the job

  /// Rounds of looking before a worker sleeps: about 20 us, the gap between two operations of a step. Cores
  /// may be shared with other processes, so no longer.
  static constexpr int kSpins = 2000;

  void RunJob(const std::function<void(std::int64_t, int)>& function, std::int64_t items, int thread) {
    for (std::int64_t i = next.fetch_add(1); i < items; i = next.fetch_add(1)) function(i, thread);
  }

  void Worker(int thread) {
    std::uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < kSpins && job.load(std::memory_order_acquire) == seen; ++spin)
        __builtin_ia32_pause();
      const std::function<void(std::int64_t, int)>* function = nullptr;
      std::int64_t items = 0;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stop || job.load() != seen; });
        if (stop) return;
        seen = job.load();
        function = work;
        items = count;
      }
      RunJob(*function, items, thread);
      // The last one out lets the caller go on; it looks at `finished` before it sleeps.
      if (finished.fetch_add(1) + 1 == static_cast<int>(workers_total)) {
        const std::lock_guard lock(mutex);
        done.notify_one();
      }
    }
  }
  int workers_total = 0;
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  BATON_CHECK(threads >= 1);
  state_->workers_total = threads - 1;
  for (int i = 1; i < threads; ++i)
    state_->workers.emplace_back([state = state_.get(), i] { state->Worker(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::Threads() const {
  return state_->workers_total + 1;
}

void ThreadPool::ParallelFor(std::int64_t count, const std::function<void(std::int64_t, int)>& work) {
  if (state_->workers_total == 0 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) work(i, 0);
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->work = &work;
    state_->count = count;
    state_->next.store(0);
    state_->finished.store(0);
    state_->job.fetch_add(1, std::memory_order_release);
  }
  state_->wake.notify_all();
  state_->RunJob(work, count, 0);
  for (int spin = 0; spin < State::kSpins && state_->finished.load() < state_->workers_total; ++spin) {
    __builtin_ia32_pause();
  }
  std::unique_lock lock(state_->mutex);
  state_->done.wait(lock, [&] { return state_->finished.load() == state_->workers_total; });
}

}  // namespace baton::kernels::cpu
