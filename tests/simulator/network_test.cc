#include "simulator/network.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "common/base/random.h"

namespace baton::simulator {

TEST_CASE("a flow alone has the slower of the two cards") {
  FairNetwork network({100, 40});
  network.Start(0, {.id = 7, .from = 0, .to = 1, .bytes = 80});
  CHECK(network.NextEnd() == Approx(2));
  CHECK(network.Finish(1).empty());
  CHECK(network.Finish(2) == std::vector<std::uint32_t>{7});
  CHECK(std::isinf(network.NextEnd()));
}

TEST_CASE("what a slow receiver leaves of a card goes to the other flows") {
  FairNetwork network({100, 20, 100});
  network.Start(0, {.id = 0, .from = 0, .to = 1, .bytes = 1000});
  network.Start(0, {.id = 1, .from = 0, .to = 2, .bytes = 1000});
  CHECK(network.Flows()[0].rate == Approx(20));
  CHECK(network.Flows()[1].rate == Approx(80));
}

TEST_CASE("a flow that ends or is cancelled leaves its share to the others") {
  FairNetwork network({100, 100, 100});
  network.Start(0, {.id = 0, .from = 0, .to = 1, .bytes = 50});
  network.Start(0, {.id = 1, .from = 0, .to = 2, .bytes = 100});
  CHECK(network.NextEnd() == Approx(1));
  CHECK(network.Finish(1) == std::vector<std::uint32_t>{0});
  CHECK(network.NextEnd() == Approx(1.5));
  network.Start(1, {.id = 2, .from = 1, .to = 2, .bytes = 100});
  CHECK(network.NextEnd() == Approx(2));
  network.Cancel(1, 2);
  CHECK(network.NextEnd() == Approx(1.5));
}

TEST_CASE("rates are max-min fair: every flow passes a full card on which none has more") {
  RandomStream chance(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> cards;
    for (int i = 0; i < 5; ++i) cards.push_back(static_cast<double>(chance.Between(1, 100)));
    FairNetwork network(cards);
    const std::int64_t count = chance.Between(1, 20);
    for (std::uint32_t id = 0; id < count; ++id) {
      network.Start(0, {.id = id,
                        .from = static_cast<std::uint32_t>(chance.Between(0, 4)),
                        .to = static_cast<std::uint32_t>(chance.Between(0, 4)),
                        .bytes = 1});
    }
    std::vector<double> out(5, 0), in(5, 0), out_max(5, 0), in_max(5, 0);
    for (const auto& flow : network.Flows()) {
      out[flow.from] += flow.rate;
      in[flow.to] += flow.rate;
      out_max[flow.from] = std::max(out_max[flow.from], flow.rate);
      in_max[flow.to] = std::max(in_max[flow.to], flow.rate);
    }
    for (std::size_t i = 0; i < 5; ++i) {
      REQUIRE(out[i] <= cards[i] * (1 + 1e-9));
      REQUIRE(in[i] <= cards[i] * (1 + 1e-9));
    }
    for (const auto& flow : network.Flows()) {
      const bool out_is_full = out[flow.from] >= cards[flow.from] * (1 - 1e-9);
      const bool in_is_full = in[flow.to] >= cards[flow.to] * (1 - 1e-9);
      const bool bottleneck = (out_is_full && flow.rate >= out_max[flow.from] * (1 - 1e-9)) ||
                              (in_is_full && flow.rate >= in_max[flow.to] * (1 - 1e-9));
      REQUIRE(bottleneck);
    }
  }
}

}  // namespace baton::simulator
