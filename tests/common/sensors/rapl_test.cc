#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/sensors/power_sensor.h"
#include "tests/support/temporary_folder.h"

namespace baton::sensors {
namespace {

/// A powercap tree.
class Tree {
 public:
  void Put(const std::string& zone, const std::string& file, const std::string& text) const {
    std::filesystem::create_directories(folder_.Path() + "/" + zone);
    std::ofstream(folder_.Path() + "/" + zone + "/" + file) << text << "\n";
  }
  void AddZone(const std::string& zone, const std::string& name, const std::string& energy) const {
    Put(zone, "name", name);
    Put(zone, "energy_uj", energy);
    Put(zone, "max_energy_range_uj", "1000000");
  }
  [[nodiscard]] std::string Text(const std::string& file) const {
    std::string text;
    std::getline(std::ifstream(folder_.Path() + "/" + file), text);
    return text;
  }
  [[nodiscard]] absl::StatusOr<std::unique_ptr<PowerSensor>> Open() const { return OpenRapl(folder_.Path()); }

 private:
  test::TemporaryFolder folder_;
};

struct TwoPackages : Tree {
  TwoPackages();
};

TwoPackages::TwoPackages() {
  AddZone("intel-rapl:0", "package-0", "999000");
  AddZone("intel-rapl:0:0", "core", "1");
  AddZone("intel-rapl:0:1", "dram", "500");
  AddZone("intel-rapl:1", "package-1", "100");
  AddZone("intel-rapl-mmio:0", "package-0", "999000");
  AddZone("intel-rapl:2", "psys", "7");
  Put("intel-rapl:0", "constraint_0_power_limit_uw", "200000000");
  Put("intel-rapl:1", "constraint_0_power_limit_uw", "200000000");
}

TEST_CASE("packages and memory are counted, each once, through a wrap") {
  const TwoPackages tree;
  const auto sensor = tree.Open();
  REQUIRE(sensor.ok());
  tree.Put("intel-rapl:0", "energy_uj", "4000");  // wrapped
  tree.Put("intel-rapl:0:0", "energy_uj", "900");
  tree.Put("intel-rapl:0:1", "energy_uj", "700");
  tree.Put("intel-rapl:1", "energy_uj", "150");

  const auto reading = (*sensor)->Read();

  REQUIRE(reading.ok());
  CHECK(reading->energy_uj == 5000 + 200 + 50);
  CHECK(reading->cap_watts == 400.0);
  CHECK_FALSE(reading->watts.has_value());
  CHECK((*sensor)->Name() == "package-0+dram+package-1");
}

TEST_CASE("a cap is shared by the packages, and put back when the sensor goes") {
  const TwoPackages tree;
  auto sensor = tree.Open();
  REQUIRE(sensor.ok());

  CHECK((*sensor)->SetCap(300).ok());

  CHECK(tree.Text("intel-rapl:1/constraint_0_power_limit_uw") == "150000000");
  CHECK((*sensor)->LockClock(2000).code() == kUnimplemented);
  sensor->reset();
  CHECK(tree.Text("intel-rapl:0/constraint_0_power_limit_uw") == "200000000");
}

TEST_CASE("no counters, or one that is no number, is said with its place") {
  const Tree empty;
  CHECK(empty.Open().status().code() == kFailedPrecondition);
  CHECK(OpenRapl("/nonexistent/powercap").status().code() == kFailedPrecondition);

  const TwoPackages tree;
  const auto sensor = tree.Open();
  REQUIRE(sensor.ok());
  tree.Put("intel-rapl:1", "energy_uj", "12x");
  const auto reading = (*sensor)->Read();
  CHECK(Message(reading.status()).find("intel-rapl:1/energy_uj: \"12x\"") != std::string::npos);
}

}  // namespace
}  // namespace baton::sensors
