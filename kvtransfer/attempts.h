#pragma once

#include <cstddef>
#include <deque>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"

namespace baton::kvtransfer {

/// The newest attempt of each request that was begun or aborted here: an older one, or an aborted one, is
/// refused. Bounded: the oldest entries are forgotten.
class Attempts {
 public:
  explicit Attempts(std::size_t capacity) : capacity_(capacity) {}

  /// False where `key` is older than what was seen, or was aborted.
  [[nodiscard]] bool Begin(RequestKey key) {
    if (!Accepts(key)) return false;
    Remember(key, false);
    return true;
  }
  /// Whether `key` might still begin.
  [[nodiscard]] bool Accepts(RequestKey key) const {
    const auto seen = newest_.find(key.request);
    if (seen == newest_.end() || key.attempt > seen->second.attempt) return true;
    return key.attempt == seen->second.attempt && !seen->second.aborted;
  }
  /// An ABORT, which may have overtaken what it ends; or the end of a transfer: an attempt is used once.
  void Abort(RequestKey key) {
    const auto seen = newest_.find(key.request);
    if (seen != newest_.end() && key.attempt < seen->second.attempt) return;
    Remember(key, true);
  }

 private:
  struct Seen {
    Attempt attempt;
    bool aborted = false;
  };
  void Remember(RequestKey key, bool aborted) {
    if (newest_.insert_or_assign(key.request, Seen{.attempt = key.attempt, .aborted = aborted}).second) {
      order_.push_back(key.request);
    }
    while (order_.size() > capacity_) {
      newest_.erase(order_.front());
      order_.pop_front();
    }
  }

  const std::size_t capacity_;
  absl::flat_hash_map<RequestId, Seen> newest_;
  std::deque<RequestId> order_;
};

}  // namespace baton::kvtransfer
