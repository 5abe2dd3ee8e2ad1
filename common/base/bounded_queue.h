#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "common/base/mutex.h"

namespace baton {

/// A queue between threads with an upper bound. Never blocks: a full queue refuses, and the caller decides
/// what that means (a 503, a retry, backpressure). Thread-safe.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

  /// False, and nothing changes, where the queue is full.
  [[nodiscard]] bool TryPush(T item) {
    const MutexLock lock(mutex_);
    if (items_.size() >= capacity_) return false;
    items_.push_back(std::move(item));
    return true;
  }

  [[nodiscard]] std::optional<T> TryPop() {
    const MutexLock lock(mutex_);
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  /// Everything that is queued, in order.
  [[nodiscard]] std::deque<T> TakeAll() {
    const MutexLock lock(mutex_);
    return std::exchange(items_, {});
  }

  [[nodiscard]] std::size_t Size() const {
    const MutexLock lock(mutex_);
    return items_.size();
  }

 private:
  const std::size_t capacity_;
  mutable Mutex mutex_;
  std::deque<T> items_;  // guarded by mutex_
};

}  // namespace baton
