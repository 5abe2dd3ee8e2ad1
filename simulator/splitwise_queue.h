#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::simulator {

/// The list of a machine's waiting tasks, as kSplitwise needs it: elements are inserted by bisection on keys
/// that change while the list is not sorted again, so it matters which elements the bisection looks at. Short
/// lists are one array; long ones are cut into chunks, so that an insertion or a removal never moves more
/// than a chunk. `Where` gives each task's chunk: a field of the caller's, so that removal needs no search.
class ChunkedList {
 public:
  using Task = std::uint32_t;

  [[nodiscard]] bool Empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t Size() const { return size_; }
  [[nodiscard]] Task Front() const { return chunks_[order_.front()].front(); }

  [[nodiscard]] Task At(std::size_t index) const {
    for (const std::uint32_t chunk : order_) {
      if (index < chunks_[chunk].size()) return chunks_[chunk][index];
      index -= chunks_[chunk].size();
    }
    return 0;
  }

  /// Bisects to the right of all that `after(element)` is false for, as if the list were sorted.
  template <typename After, typename Where>
  void Insert(Task task, After after, Where where) {
    std::size_t low = 0;
    std::size_t high = size_;
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      after(At(middle)) ? high = middle : low = middle + 1;
    }
    std::size_t place = 0;
    while (place + 1 < order_.size() && low > chunks_[order_[place]].size()) {
      low -= chunks_[order_[place]].size();
      ++place;
    }
    if (order_.empty()) order_.push_back(NewChunk());
    const std::uint32_t chunk = order_[place];
    chunks_[chunk].insert(chunks_[chunk].begin() + static_cast<std::ptrdiff_t>(low), task);
    where(task) = chunk;
    ++size_;
    if (chunks_[chunk].size() > kChunkMax) Split(place, where);
  }

  template <typename Where>
  void Erase(Task task, Where where) {
    const std::uint32_t chunk = where(task);
    std::vector<Task>& tasks = chunks_[chunk];
    tasks.erase(std::find(tasks.begin(), tasks.end(), task));
    --size_;
    if (tasks.empty() && order_.size() > 1) {
      order_.erase(std::find(order_.begin(), order_.end(), chunk));
      free_.push_back(chunk);
    }
  }

  /// From the front, until `visit` returns false.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const std::uint32_t chunk : order_) {
      for (const Task task : chunks_[chunk]) {
        if (!visit(task)) return;
      }
    }
  }

 private:
  static constexpr std::size_t kChunkMax = 512;  // 2 KiB: moved in some 50 ns

  std::uint32_t NewChunk() {
    if (!free_.empty()) {
      const std::uint32_t chunk = free_.back();
      free_.pop_back();
      return chunk;
    }
    chunks_.emplace_back();
    return static_cast<std::uint32_t>(chunks_.size() - 1);
  }

  template <typename Where>
  void Split(std::size_t place, Where where) {
    const std::uint32_t fresh = NewChunk();
    std::vector<Task>& full = chunks_[order_[place]];
    const auto half = full.begin() + static_cast<std::ptrdiff_t>(full.size() / 2);
    chunks_[fresh].assign(half, full.end());
    full.erase(half, full.end());
    for (const Task task : chunks_[fresh]) where(task) = fresh;
    order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(place) + 1, fresh);
  }

  std::vector<std::vector<Task>> chunks_;
  std::vector<std::uint32_t> order_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
};

}  // namespace baton::simulator
