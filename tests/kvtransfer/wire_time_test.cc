#include "kvtransfer/wire_time.h"

#include <catch2/catch.hpp>

namespace baton::kvtransfer {
namespace {

TimePoint At(int milliseconds) {
  return TimePoint(std::chrono::milliseconds(milliseconds));
}
constexpr std::chrono::milliseconds Ms(int milliseconds) {
  return std::chrono::milliseconds(milliseconds);
}

TEST_CASE("messages that overlap on the wire count once, and the time between them not at all") {
  WireTime time;
  CHECK(time.Empty());
  CHECK(time.Whole() == Duration::zero());

  time.Add(At(10), At(20));
  time.Add(At(12), At(25));
  time.Add(At(40), At(45));

  CHECK(time.Whole() == Ms(20));
  CHECK(time.Begin() == At(10));
  CHECK(time.Since(At(5)) == Ms(20));
  CHECK(time.Since(At(22)) == Ms(8));
  CHECK(time.Since(At(30)) == Ms(5));
  CHECK(time.Since(At(50)) == Duration::zero());
}

TEST_CASE("a message that was on the wire throughout joins those that ended before it") {
  WireTime time;
  time.Add(At(10), At(12));
  time.Add(At(20), At(22));

  time.Add(At(5), At(30));

  CHECK(time.Whole() == Ms(25));
  CHECK(time.Begin() == At(5));
}

}  // namespace
}  // namespace baton::kvtransfer
