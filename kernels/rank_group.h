#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "kernels/backend.h"

namespace baton::kernels {

/// What the ranks of one process share: where each one's rows lie during a call, and a barrier. Each rank
/// calls from a thread of its own.
class RankGroup {
 public:
  explicit RankGroup(int ranks) : rows_(static_cast<std::size_t>(ranks)) {}
  [[nodiscard]] int Size() const { return static_cast<int>(rows_.size()); }

  /// Returns once every rank has said where its rows are.
  void Publish(int rank, const Rows& rows) {
    rows_[static_cast<std::size_t>(rank)] = rows;
    Wait();
  }
  [[nodiscard]] const Rows& Of(int rank) const { return rows_[static_cast<std::size_t>(rank)]; }
  /// Returns once every rank has called it.
  void Wait() {
    std::unique_lock lock(mutex_);
    const std::uint64_t round = round_;
    if (++arrived_ == Size()) {
      arrived_ = 0;
      ++round_;
      all_arrived_.notify_all();
      return;
    }
    all_arrived_.wait(lock, [&] { return round_ != round; });
  }

 private:
  std::vector<Rows> rows_;
  std::mutex mutex_;
  std::condition_variable all_arrived_;
  int arrived_ = 0;
  std::uint64_t round_ = 0;
};

}  // namespace baton::kernels
