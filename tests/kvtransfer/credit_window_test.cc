#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "kvtransfer/credit_window.h"

namespace baton::kvtransfer {
namespace {

TransferId Id(std::uint64_t n) {
  return {.high = 0, .low = n};
}

TEST_CASE("a transfer that fits the window is given all its credit at once") {
  CreditWindow window({.window = 1000, .least = 100});

  CHECK(window.Open(Id(1), 600) == 600);
  CHECK(window.UnderWay() == 600);
}

TEST_CASE("a transfer beyond the window sends one message, and more as data comes") {
  CreditWindow window({.window = 1000, .least = 100});
  CHECK(window.Open(Id(1), 1000) == 1000);
  CHECK(window.Open(Id(2), 500) == 100);

  CHECK(window.Placed(Id(1), 90).empty());  // the window is still full
  const auto grants = window.Placed(Id(1), 410);

  CHECK(grants == CreditWindow::Grants{{Id(2), 500}});
  CHECK(window.UnderWay() == 1000);
}

TEST_CASE("a transfer that ends leaves its credit to the others") {
  CreditWindow window({.window = 1000, .least = 100});
  static_cast<void>(window.Open(Id(1), 1000));
  static_cast<void>(window.Open(Id(2), 300));

  CHECK(window.Close(Id(1)) == CreditWindow::Grants{{Id(2), 300}});
  CHECK(window.Close(Id(2)).empty());
  CHECK(window.UnderWay() == 0);
  CHECK(window.Close(Id(2)).empty());
}

TEST_CASE("bytes that were not granted earn no credit") {
  CreditWindow window({.window = 100, .least = 100});
  static_cast<void>(window.Open(Id(1), 1000));

  CHECK(window.Placed(Id(1), 5000) == CreditWindow::Grants{{Id(1), 200}});
  CHECK(window.Placed(Id(9), 10).empty());
}

TEST_CASE(
    "whatever the order, all bytes are granted in the end, and never more than the limit are under way") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    RandomStream chance(seed);
    CreditWindow window({.window = 1000, .least = 64});
    std::map<TransferId, std::uint64_t> granted, sent;
    constexpr std::uint64_t kTotal = 3000;
    constexpr std::uint64_t kTransfers = 5;
    for (std::uint64_t i = 1; i <= kTransfers; ++i) granted[Id(i)] = window.Open(Id(i), kTotal);
    int steps = 0;
    while (!granted.empty()) {
      REQUIRE(++steps < 10'000);
      auto at = granted.begin();
      std::advance(at, chance.Between(0, std::ssize(granted) - 1));
      const auto [id, credit] = *at;
      const std::uint64_t bytes = std::min<std::uint64_t>(64, credit - sent[id]);
      sent[id] += bytes;
      auto grants = window.Placed(id, bytes);
      if (sent[id] == kTotal) {
        granted.erase(id);
        for (const auto& more : window.Close(id)) grants.push_back(more);
      }
      for (const auto& [to, total] : grants) {
        REQUIRE(total > granted.at(to));
        granted[to] = total;
      }
      REQUIRE(window.UnderWay() <= 1000 + kTransfers * 64);
    }
    CHECK(window.UnderWay() == 0);
  }
}

}  // namespace
}  // namespace baton::kvtransfer
