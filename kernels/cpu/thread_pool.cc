#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "common/base/check.h"
#include "kernels/cpu/affinity.h"

namespace baton::kernels::cpu {

/// One atomic word says what is left of the current loop: its count above, the next index below. A thread
/// takes an index by compare-and-swap; whoever holds one keeps the loop from ending, so that `loop` is the
/// right one then. The caller waits for indices, not for threads: where the cores are busy with others, it
/// does all of the work.
struct ThreadPool::State {
  /// Rounds of looking before a thread sleeps: about 20 us, the gap between two operations of a step. Cores
  /// may be shared with other processes, so no longer.
  static constexpr int kSpins = 2000;
  static constexpr std::uint64_t kIndexMask = 0xffffffffU;

  alignas(64) std::atomic<std::uint64_t> ticket{0};  // count << 32 | next index
  Loop loop;                                  // the current one; written while nothing is left of the last
  alignas(64) std::atomic<int> done{0};       // indices that are finished
  alignas(64) std::atomic<int> published{0};  // changes with each loop and at the end: what sleepers watch
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;

  [[nodiscard]] bool AnythingLeft() const {
    const std::uint64_t now = ticket.load(std::memory_order_acquire);
    return (now & kIndexMask) < now >> 32;
  }

  /// Takes indices until none is left.
  void Help(int thread) {
    std::uint64_t now = ticket.load(std::memory_order_acquire);
    while ((now & kIndexMask) < now >> 32) {
      if (!ticket.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      const auto count = static_cast<int>(now >> 32);
      loop.call(loop.object, static_cast<std::int64_t>(now & kIndexMask), thread);
      if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == count) done.notify_one();
      now = ticket.load(std::memory_order_acquire);
    }
  }

  void Worker(int thread) {
    while (true) {
      const int seen = published.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      Help(thread);
      for (int spin = 0; spin < kSpins && published.load(std::memory_order_relaxed) == seen; ++spin) {
        __builtin_ia32_pause();
      }
      published.wait(seen, std::memory_order_acquire);
    }
  }

  void Publish() {
    published.fetch_add(1, std::memory_order_release);
    published.notify_all();
  }

  void AwaitDone(int count) {
    for (int spin = 0; spin < kSpins; ++spin) {
      if (done.load(std::memory_order_acquire) == count) return;
      __builtin_ia32_pause();
    }
    for (int now = done.load(std::memory_order_acquire); now != count;
         now = done.load(std::memory_order_acquire)) {
      done.wait(now, std::memory_order_acquire);
    }
  }
};

ThreadPool::ThreadPool(int threads, const std::vector<int>& cores) : state_(std::make_unique<State>()) {
  BATON_CHECK(threads >= 1 && (cores.empty() || std::ssize(cores) >= threads));
  std::latch placed(threads - 1);
  for (int i = 1; i < threads; ++i) {
    const int core = cores.empty() ? -1 : cores[static_cast<std::size_t>(i)];
    state_->workers.emplace_back([state = state_.get(), &placed, i, core] {
      if (core >= 0) PinThisThread(core);
      placed.count_down();
      state->Worker(i);
    });
  }
  placed.wait();
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->Publish();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::Threads() const {
  return static_cast<int>(state_->workers.size()) + 1;
}

void ThreadPool::Run(std::int64_t count, Loop loop) {
  BATON_CHECK(count < std::int64_t{1} << 31, "count {}", count);
  if (state_->workers.empty() || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) loop.call(loop.object, i, 0);
    return;
  }
  state_->loop = loop;
  state_->done.store(0, std::memory_order_relaxed);
  state_->ticket.store(static_cast<std::uint64_t>(count) << 32, std::memory_order_release);
  state_->Publish();
  state_->Help(0);
  state_->AwaitDone(static_cast<int>(count));
}

}  // namespace baton::kernels::cpu
