#include "simulator/plan/cover.h"

#include <limits>

#include <catch2/catch.hpp>

#include "common/base/random.h"

namespace baton::simulator {
namespace {

double CheapestByBruteForce(const std::vector<CoverItem>& items, double rate) {
  double best = std::numeric_limits<double>::infinity();
  for (int a = 0; a <= 12; ++a) {
    for (int b = 0; b <= 12; ++b) {
      for (int c = 0; c <= 12; ++c) {
        if (a > items[0].most || b > items[1].most || c > items[2].most) continue;
        if (a * items[0].capacity + b * items[1].capacity + c * items[2].capacity < rate - 1e-9) continue;
        best = std::min(best, a * items[0].price + b * items[1].price + c * items[2].price);
      }
    }
  }
  return best;
}

TEST_CASE("the first cover costs what brute force finds") {
  RandomStream chance(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<CoverItem> items;
    for (int i = 0; i < 3; ++i) {
      items.push_back({.capacity = 1 + 4 * chance.Uniform(),
                       .price = 1 + 5 * chance.Uniform(),
                       .most = static_cast<int>(chance.Between(1, 12))});
    }
    const double rate = 12 * chance.Uniform() + 0.1;
    const double expected = CheapestByBruteForce(items, rate);

    const std::vector<Cover> covers = CheapestCovers(items, rate, 3);

    if (std::isinf(expected)) {
      CHECK(covers.empty());
      continue;
    }
    REQUIRE_FALSE(covers.empty());
    CHECK(covers.front().price == Approx(expected));
  }
}

TEST_CASE("covers come cheapest first and none has a machine too many") {
  const std::vector<Cover> covers =
      CheapestCovers({{.capacity = 2, .price = 3}, {.capacity = 1, .price = 2}}, 3, 10);

  REQUIRE(covers.size() == 3);
  CHECK(covers[0].counts == std::vector<int>{1, 1});
  CHECK(covers[0].price == 5);
  CHECK(covers[1].counts == std::vector<int>{2, 0});
  CHECK(covers[2].counts == std::vector<int>{0, 3});
}

TEST_CASE("what cannot be covered has no cover") {
  CHECK(CheapestCovers({{.capacity = 1, .price = 1, .most = 2}}, 3, 1).empty());
  CHECK(CheapestCovers({{.capacity = 0, .price = 1}}, 3, 1).empty());
  CHECK(CheapestCovers({}, 3, 1).empty());
}

}  // namespace
}  // namespace baton::simulator
