#include <catch2/catch.hpp>

#include "kvtransfer/send_queue.h"

namespace baton::kvtransfer {
namespace {

constexpr TransferId kLong{.high = 1, .low = 1};
constexpr TransferId kShort{.high = 2, .low = 2};

TEST_CASE("transfers take turns, so that a long one does not hold up a short one") {
  SendQueue<int> queue;
  for (int i = 0; i < 4; ++i) queue.Push(kLong, i);
  queue.Push(kShort, 100);

  CHECK(queue.RemoveAll() == std::vector{0, 100, 1, 2, 3});
  CHECK_FALSE(queue.Pop().has_value());
}

TEST_CASE("removing a transfer leaves the others in order") {
  SendQueue<int> queue;
  for (int i = 0; i < 3; ++i) queue.Push(kLong, i);
  queue.Push(kShort, 100);
  queue.Push(kShort, 101);

  CHECK(queue.Remove(kLong) == std::vector{0, 1, 2});
  CHECK(queue.Remove(kLong).empty());
  queue.Push(kLong, 7);
  CHECK(queue.RemoveAll() == std::vector{100, 7, 101});
}

}  // namespace
}  // namespace baton::kvtransfer
