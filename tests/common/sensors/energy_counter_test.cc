#include "common/sensors/energy_counter.h"

#include <catch2/catch.hpp>

namespace baton::sensors {
namespace {

TEST_CASE("a counter tells what it has counted since it was looked at first") {
  EnergyCounter counter(1000);

  CHECK(counter.Advance(1000) == 0);
  CHECK(counter.Advance(1250) == 250);
  CHECK(counter.Advance(1250) == 250);
}

TEST_CASE("a counter that wraps goes on") {
  EnergyCounter counter(950, 1000);

  CHECK(counter.Advance(990) == 40);
  CHECK(counter.Advance(10) == 60);
  CHECK(counter.Advance(400) == 450);
}

TEST_CASE("a counter that begins anew adds what it has counted since") {
  EnergyCounter without_range(5000);
  CHECK(without_range.Advance(6000) == 1000);
  CHECK(without_range.Advance(30) == 1030);

  EnergyCounter far_from_its_end(300, 1000);
  CHECK(far_from_its_end.Advance(20) == 20);
}

}  // namespace
}  // namespace baton::sensors
