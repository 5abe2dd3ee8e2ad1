#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/sensors/power_sensor.h"

namespace baton::sensors {
namespace {

/// What a sensor was told.
struct Told {
  double cap = 0;
  double clock = 0;
};

/// Reads what it is given.
class FixedSensor final : public PowerSensor {
 public:
  FixedSensor(const absl::StatusOr<PowerReading>& reading, Told& told) : reading_(reading), told_(told) {}
  std::string Source() const override { return "nvml"; }
  std::string Name() const override { return "NVIDIA H200"; }
  absl::StatusOr<PowerReading> Read() override { return reading_; }
  absl::Status SetCap(double watts) override {
    told_.cap = watts;
    return absl::OkStatus();
  }
  absl::Status LockClock(double mhz) override {
    told_.clock = mhz;
    return absl::OkStatus();
  }

 private:
  const absl::StatusOr<PowerReading> reading_;
  Told& told_;
};

std::unique_ptr<PowerSensor> Two(const absl::StatusOr<PowerReading>& first,
                                 const absl::StatusOr<PowerReading>& second, Told (&told)[2]) {
  std::vector<std::unique_ptr<PowerSensor>> parts;
  parts.push_back(std::make_unique<FixedSensor>(first, told[0]));
  parts.push_back(std::make_unique<FixedSensor>(second, told[1]));
  return JoinSensors(std::move(parts));
}

TEST_CASE("several sensors read as one: sums, and the hottest") {
  Told told[2];
  const auto both = Two(
      PowerReading{.energy_uj = 5, .watts = 100, .cap_watts = 700, .temperature_c = 40, .clock_mhz = 1800},
      PowerReading{.energy_uj = 7, .watts = 200, .cap_watts = 600, .temperature_c = 60}, told);

  const auto reading = both->Read();

  REQUIRE(reading.ok());
  CHECK(both->Name() == "2 x NVIDIA H200");
  CHECK(both->Source() == "nvml");
  CHECK(reading->energy_uj == 12);
  CHECK(reading->watts == 300);
  CHECK(reading->cap_watts == 1300);
  CHECK(reading->temperature_c == 60);
  CHECK_FALSE(reading->clock_mhz.has_value());
}

TEST_CASE("a cap of several sensors is shared out, a clock is everybody's, an error of one is theirs") {
  Told told[2];
  const auto both = Two(PowerReading{}, Error(kInternal, "the GPU is lost"), told);

  CHECK(both->SetCap(900).ok());
  CHECK(both->LockClock(1500).ok());

  for (const Told& one : told) {
    CHECK(one.cap == 450);
    CHECK(one.clock == 1500);
  }
  CHECK(Message(both->Read().status()) == "the GPU is lost");
}

}  // namespace
}  // namespace baton::sensors
