#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::simulator {

/// Something that will happen. What `kind` and `subject` mean is its world's; an event whose `version` is no
/// longer its subject's has been cancelled.
struct Event {
  double time_s = 0;
  std::uint32_t kind = 0;
  std::uint32_t subject = 0;
  std::uint32_t version = 0;
};

/// A world asks once in so many events whether to go on: some hundred times a second.
inline constexpr std::int64_t kAskEvents = 4096;

/// The earliest event first. Events of one time leave in the order that a binary heap gives them when a pop
/// sifts the hole down to a leaf and the last element up from there (Williams 1964 with Floyd's bottom-up
/// step, which Python's heapq has too): kSplitwise reproduces the reference's order of ties with it.
class EventHeap {
 public:
  void Reserve(std::size_t count) { heap_.reserve(count); }
  [[nodiscard]] bool Empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t Size() const { return heap_.size(); }
  [[nodiscard]] const Event& Top() const { return heap_.front(); }

  void Push(const Event& event) {
    heap_.push_back(event);
    Up(heap_.size() - 1, event);
  }

  /// The heap is not empty.
  Event Pop() {
    const Event last = heap_.back();
    heap_.pop_back();
    if (heap_.empty()) return last;
    const Event first = heap_.front();
    std::size_t hole = 0;
    for (std::size_t child = 1; child < heap_.size(); child = 2 * hole + 1) {
      if (child + 1 < heap_.size() && !(heap_[child].time_s < heap_[child + 1].time_s)) ++child;
      heap_[hole] = heap_[child];
      hole = child;
    }
    Up(hole, last);
    return first;
  }

 private:
  void Up(std::size_t hole, const Event event) {
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 2;
      if (!(event.time_s < heap_[parent].time_s)) break;
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = event;
  }

  std::vector<Event> heap_;
};

}  // namespace baton::simulator
