#include "common/base/units.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton {

TEST_CASE("sizes are read with their units") {
  CHECK(*ParseBytes("64MiB") == 64U << 20);
  CHECK(*ParseBytes("1.5 kB") == 1500);
  CHECK(*ParseBytes("0") == 0);
}

TEST_CASE("durations are read with their units") {
  CHECK(*ParseDuration("250ms") == std::chrono::milliseconds(250));
  CHECK(*ParseDuration("1.5s") == std::chrono::milliseconds(1500));
  CHECK(*ParseDuration("2h") == std::chrono::hours(2));
}

TEST_CASE("a quantity without unit, with a wrong one, negative or too large is refused by name") {
  CHECK(Message(ParseBytes("64").status()) == "'64' has no unit that is known; write a size like '64MiB'");
  CHECK(Message(ParseBytes("64mb").status()) ==
        "'64mb' has no unit that is known; write a size like '64MiB'");
  CHECK(Message(ParseDuration("-1s").status()) == "'-1s' is no duration; write it like '250ms'");
  CHECK(Message(ParseDuration("abc").status()) == "'abc' is no duration; write it like '250ms'");
  CHECK_FALSE(ParseBytes("1e30GiB").ok());
  CHECK_FALSE(ParseBytes("nanGiB").ok());
}

TEST_CASE("quantities print with three digits and the fitting unit") {
  CHECK(FormatBytes(512) == "512 B");
  CHECK(FormatBytes(1536) == "1.5 KiB");
  CHECK(FormatDuration(std::chrono::microseconds(12345)) == "12.3 ms");
  CHECK(FormatDuration(std::chrono::seconds(2)) == "2 s");
}

}  // namespace baton
