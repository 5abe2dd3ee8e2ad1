#pragma once

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"

namespace baton::kvtransfer {

/// What waits to be sent to one peer. Transfers take turns, so that a long prompt does not hold up short
/// ones; within a transfer the order is kept.
template <typename Item>
class SendQueue {
 public:
  void Push(TransferId transfer, Item item) {
    std::deque<Item>& items = waiting_[transfer];
    if (items.empty()) turns_.push_back(transfer);
    items.push_back(std::move(item));
  }
  /// The next one, if any.
  [[nodiscard]] std::optional<Item> Pop() {
    if (turns_.empty()) return std::nullopt;
    const TransferId transfer = turns_.front();
    turns_.pop_front();
    const auto found = waiting_.find(transfer);
    Item item = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) {
      waiting_.erase(found);
    } else {
      turns_.push_back(transfer);
    }
    return item;
  }
  /// Takes out what waits of one transfer, in order.
  [[nodiscard]] std::vector<Item> Remove(TransferId transfer) {
    const auto found = waiting_.find(transfer);
    if (found == waiting_.end()) return {};
    std::vector<Item> items;
    for (Item& item : found->second) items.push_back(std::move(item));
    waiting_.erase(found);
    std::erase(turns_, transfer);
    return items;
  }
  [[nodiscard]] std::vector<Item> RemoveAll() {
    std::vector<Item> items;
    while (auto item = Pop()) items.push_back(*std::move(item));
    return items;
  }

 private:
  std::deque<TransferId> turns_;  // those with something waiting, each once
  absl::flat_hash_map<TransferId, std::deque<Item>> waiting_;
};

}  // namespace baton::kvtransfer
