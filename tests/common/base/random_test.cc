#include "common/base/random.h"

#include <array>

#include <catch2/catch.hpp>

namespace baton {

TEST_CASE("a counter's number depends on seed and counter alone") {
  CHECK(CounterBits(1, 2) == CounterBits(1, 2));
  CHECK(CounterBits(1, 2) != CounterBits(1, 3));
  CHECK(CounterBits(1, 2) != CounterBits(2, 2));
}

TEST_CASE("uniform numbers fill [0, 1) evenly") {
  std::array<int, 20> bins{};
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = CounterUniform(42, static_cast<std::uint64_t>(i));
    REQUIRE(u >= 0.0);
    REQUIRE(u < 1.0);
    ++bins[static_cast<std::size_t>(u * 20)];
  }

  double chi_square = 0;
  for (const int count : bins) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  CHECK(chi_square < 43.8);  // 99.9 % point of chi-square with 19 degrees of freedom
}

TEST_CASE("whole numbers of a range reach both ends and nothing outside") {
  RandomStream random(7);
  bool low = false;
  bool high = false;
  for (int i = 0; i < 1000; ++i) {
    const auto n = random.Between(-3, 3);
    REQUIRE(n >= -3);
    REQUIRE(n <= 3);
    low = low || n == -3;
    high = high || n == 3;
  }
  CHECK(low);
  CHECK(high);
}

}  // namespace baton
