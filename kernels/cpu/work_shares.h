#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::kernels::cpu {

/// Hands out the indices [0, count) of a loop so that each thread walks a run of its own and knows which
/// index comes next, until it has none left and helps others with theirs. `Take` from any thread, as many
/// times as there are indices; `Divide` while nobody takes.
class WorkShares {
 public:
  struct Item {
    std::int64_t index = 0;
    std::int64_t next = -1;  // what the thread will get then, unless others take it first; -1: nothing
  };

  explicit WorkShares(int threads) : shares_(static_cast<std::size_t>(threads)) {}

  void Divide(std::int64_t count) {
    const auto threads = static_cast<std::int64_t>(shares_.size());
    for (std::int64_t t = 0; t < threads; ++t) {
      Share& share = shares_[static_cast<std::size_t>(t)];
      share.next.store(count * t / threads, std::memory_order_relaxed);
      share.end = count * (t + 1) / threads;
    }
  }
  [[nodiscard]] Item Take(int thread) {
    // Somebody's share has one left: there are as many calls as indices.
    for (auto t = static_cast<std::size_t>(thread);; t = t + 1 < shares_.size() ? t + 1 : 0) {
      Share& share = shares_[t];
      if (share.next.load(std::memory_order_relaxed) >= share.end) continue;
      const std::int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
      if (index < share.end) return {.index = index, .next = index + 1 < share.end ? index + 1 : -1};
    }
  }

 private:
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };
  std::vector<Share> shares_;
};

}  // namespace baton::kernels::cpu
