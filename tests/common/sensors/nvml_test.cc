#include <dlfcn.h>

#include <filesystem>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/sensors/power_sensor.h"
#include "tests/common/sensors/fake_nvml.h"

namespace baton::sensors {
namespace {

/// Keeps the fake library loaded, its state as new.
class Fake {
 public:
  Fake() : handle_(dlopen(FAKE_NVML, RTLD_NOW)) {
    REQUIRE(handle_ != nullptr);
    state_ = reinterpret_cast<FakeNvml* (*)()>(dlsym(handle_, "fake_nvml_state"))();
    *state_ = {};
  }
  Fake(const Fake&) = delete;
  Fake& operator=(const Fake&) = delete;
  ~Fake() { dlclose(handle_); }
  FakeNvml* operator->() const { return state_; }
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<PowerSensor>> Open(
      const std::string& bus_id = "0000:3b:00.0") {
    return OpenNvml({.bus_id = bus_id, .library = FAKE_NVML});
  }

 private:
  void* handle_;
  FakeNvml* state_ = nullptr;
};

bool Says(const absl::Status& status, std::string_view text) {
  INFO(status);
  return Message(status).find(text) != std::string::npos;
}

TEST_CASE("a GPU says its energy since it was opened, its power, cap, clock and temperature") {
  const Fake fake;
  auto sensor = Fake::Open();
  REQUIRE(sensor.ok());
  fake->energy_mj += 1234;

  const auto reading = (*sensor)->Read();

  REQUIRE(reading.ok());
  CHECK(reading->energy_uj == 1'234'000);
  CHECK(reading->watts == 312.5);
  CHECK(reading->cap_watts == 700.0);
  CHECK(reading->clock_mhz == 1755.0);
  CHECK(reading->temperature_c == 41.0);
  CHECK((*sensor)->Name() == "Fake GPU");
  sensor->reset();
  CHECK(fake->begun == 0);
}

TEST_CASE("a driver that is loaded anew begins its counter anew, and nothing is counted twice") {
  const Fake fake;
  auto sensor = Fake::Open();
  REQUIRE(sensor.ok());
  fake->energy_mj = 6000;
  CHECK((*sensor)->Read()->energy_uj == 1'000'000);
  fake->energy_mj = 250;
  CHECK((*sensor)->Read()->energy_uj == 1'250'000);
}

TEST_CASE("a library, a function or a GPU that is missing is named") {
  const Fake fake;
  CHECK(Says(OpenNvml({.bus_id = "0", .library = "libno-such-nvml.so"}).status(),
             "cannot load libno-such-nvml.so"));
  CHECK(Says(OpenNvml({.bus_id = "0", .library = OLD_NVML}).status(),
             "has no nvmlDeviceGetTotalEnergyConsumption"));
  CHECK(Says(Fake::Open("0000:99:00.0").status(), "GPU 0000:99:00.0: cannot find it"));
  CHECK(fake->begun == 0);
}

TEST_CASE("an error of the driver is told with its text, at the start and later") {
  const Fake fake;
  fake->init_code = 9;
  CHECK(Says(Fake::Open().status(), "cannot begin"));
  fake->init_code = 0;
  fake->energy_code = 3;
  CHECK(Fake::Open().status().code() == kUnimplemented);
  fake->energy_code = 0;
  auto sensor = Fake::Open();
  REQUIRE(sensor.ok());

  fake->energy_code = 15;

  CHECK(Says((*sensor)->Read().status(), "GPU is lost"));
}

TEST_CASE("what cannot be read beside the counter is left out") {
  const Fake fake;
  fake->power_code = 3;
  auto sensor = Fake::Open();
  REQUIRE(sensor.ok());

  const auto reading = (*sensor)->Read();

  REQUIRE(reading.ok());
  CHECK_FALSE(reading->watts.has_value());
  CHECK(reading->cap_watts.has_value());
}

TEST_CASE("a cap and a clock are set, and put back when the sensor goes") {
  const Fake fake;
  auto sensor = Fake::Open();
  REQUIRE(sensor.ok());

  CHECK((*sensor)->SetCap(350).ok());
  CHECK((*sensor)->SetCap(400).ok());
  CHECK((*sensor)->LockClock(1410).ok());

  CHECK(fake->limit_mw == 400'000);
  CHECK((fake->locked_low == 1410 && fake->locked_high == 1410));
  sensor->reset();
  CHECK(fake->limit_mw == 700'000);
  CHECK(fake->resets == 1);
}

TEST_CASE("a cap out of the GPU's range, or without the right to set it, changes nothing") {
  const Fake fake;
  auto sensor = Fake::Open();
  REQUIRE(sensor.ok());

  CHECK(Says((*sensor)->SetCap(100), "it takes 200 to 700 W"));
  fake->set_code = 4;
  CHECK((*sensor)->SetCap(300).code() == kPermissionDenied);
  CHECK(Says((*sensor)->LockClock(1000), "root"));

  sensor->reset();
  CHECK(fake->limit_mw == 700'000);
  CHECK(fake->resets == 0);
}

TEST_CASE("this machine's GPU says its energy and power, or the test says that there is none") {
  std::error_code code;
  const std::filesystem::directory_iterator gpus("/proc/driver/nvidia/gpus", code);
  if (code || gpus == std::filesystem::directory_iterator()) {
    WARN("SKIPPED: NVML of a real GPU: there is none in /proc/driver/nvidia/gpus");
    return;
  }
  const auto sensor = OpenNvml({.bus_id = gpus->path().filename().string()});
  INFO(sensor.status());
  REQUIRE(sensor.ok());

  const auto reading = (*sensor)->Read();

  REQUIRE(reading.ok());
  CHECK(reading->energy_uj >= 0);
  CHECK(reading->watts.value_or(0) > 0);
  CHECK(reading->cap_watts.value_or(0) > 0);
}

}  // namespace
}  // namespace baton::sensors
