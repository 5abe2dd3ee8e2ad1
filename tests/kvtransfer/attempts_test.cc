#include <catch2/catch.hpp>

#include "kvtransfer/attempts.h"

namespace baton::kvtransfer {
namespace {

RequestKey Key(std::uint64_t request, std::uint32_t attempt) {
  return {.request = RequestId(request), .attempt = Attempt(attempt)};
}

TEST_CASE("an attempt older than one that was seen is refused") {
  Attempts attempts(8);
  REQUIRE(attempts.Begin(Key(1, 2)));

  CHECK_FALSE(attempts.Begin(Key(1, 1)));
  CHECK(attempts.Begin(Key(1, 3)));
  CHECK(attempts.Begin(Key(2, 1)));
}

TEST_CASE("an abort that overtakes its reservation keeps it out, but not the next attempt") {
  Attempts attempts(8);

  attempts.Abort(Key(1, 2));

  CHECK_FALSE(attempts.Accepts(Key(1, 2)));
  CHECK_FALSE(attempts.Begin(Key(1, 2)));
  CHECK(attempts.Begin(Key(1, 3)));
}

TEST_CASE("an abort of an old attempt does not touch the newer one") {
  Attempts attempts(8);
  REQUIRE(attempts.Begin(Key(1, 2)));

  attempts.Abort(Key(1, 1));

  CHECK(attempts.Accepts(Key(1, 2)));
}

TEST_CASE("tombstones are bounded: the oldest is forgotten first") {
  Attempts attempts(2);
  for (std::uint64_t request = 1; request <= 3; ++request) attempts.Abort(Key(request, 1));

  CHECK(attempts.Accepts(Key(1, 1)));
  CHECK_FALSE(attempts.Accepts(Key(2, 1)));
  CHECK_FALSE(attempts.Accepts(Key(3, 1)));
}

}  // namespace
}  // namespace baton::kvtransfer
