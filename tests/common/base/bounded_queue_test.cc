#include "common/base/bounded_queue.h"

#include <catch2/catch.hpp>

namespace baton {

TEST_CASE("a bounded queue refuses what exceeds its capacity and keeps its order") {
  BoundedQueue<int> queue(2);

  REQUIRE(queue.TryPush(1));
  REQUIRE(queue.TryPush(2));
  CHECK_FALSE(queue.TryPush(3));

  CHECK(queue.TryPop() == 1);
  REQUIRE(queue.TryPush(4));
  const std::deque<int> all = queue.TakeAll();
  CHECK(all == std::deque<int>{2, 4});
  CHECK(queue.Size() == 0);
  CHECK_FALSE(queue.TryPop().has_value());
}

}  // namespace baton
