#include "common/hardware/power.h"

#include <cmath>

#include <catch2/catch.hpp>

namespace baton::hardware {
namespace {

const Device& H100() {
  return **Catalogue::BuiltIn().FindDevice("h100-80gb");
}
const Machine& DgxH100() {
  return **Catalogue::BuiltIn().FindMachine("dgx-h100");
}

constexpr StepTime kDecode = {.seconds = 0.03, .sigma = 0.003, .bandwidth_share = 0.4, .flops_share = 0.01};
constexpr StepTime kPrompt = {.seconds = 0.1, .sigma = 0.01, .bandwidth_share = 0.1, .flops_share = 0.5};

TEST_CASE("watts follow the shares of memory and arithmetic, between idle and the rating") {
  const Device& a100 = **Catalogue::BuiltIn().FindDevice("a100-80gb");

  CHECK(DeviceWatts(a100, 0.5, 0) == Approx(400 * (0.31 + 0.74 * 0.5)));
  CHECK(DeviceWatts(a100, 0, 0.25) == Approx(400 * (0.31 + 1.6 * 0.25)));
  CHECK(DeviceWatts(a100, 1, 1) == 400);
  // ML.ENERGY's decode on the H100: 0.43 to 0.86 of the rating at small and large batches.
  CHECK(DeviceWatts(H100(), 0.6, 0.01) / 700 == Approx(0.49).margin(0.02));
}

TEST_CASE("a cap of half the rating slows a saturated prompt by the paper's 1.3") {
  CHECK(CapSlowdown(H100(), 700, 350) == Approx(1.3).epsilon(0.02));
}

TEST_CASE("a cap slows only steps that would draw more") {
  CHECK(CapSlowdown(H100(), 349, 350) == 1);
  CHECK(CapSlowdown(H100(), 700, 0) == 1);
  const StepTime decode = UnderCap(H100(), kDecode, 350);
  CHECK(decode.seconds == kDecode.seconds);
  CHECK(CappedWatts(H100(), decode, 350) == DeviceWatts(H100(), 0.4, 0.01));
  const StepTime prompt = UnderCap(H100(), kPrompt, 350);
  CHECK(prompt.seconds > 1.2 * kPrompt.seconds);
  CHECK(prompt.sigma / prompt.seconds == Approx(0.1));
  CHECK(prompt.flops_share == Approx(0.5 * kPrompt.seconds / prompt.seconds));
  CHECK(CappedWatts(H100(), prompt, 350) <= 350);
}

TEST_CASE("a cap below idle power stays finite") {
  CHECK(CapSlowdown(H100(), 700, 10) == Approx(std::cbrt(625.0)));
}

TEST_CASE("a lower clock slows prompts much and decodes little, and saves power in both") {
  const StepTime prompt = AtClock(kPrompt, 0.7);
  const StepTime decode = AtClock(kDecode, 0.7);

  CHECK(prompt.seconds / kPrompt.seconds > 1.3);
  CHECK(decode.seconds / kDecode.seconds < 1.02);
  CHECK(AtClock(kDecode, 0.3).seconds / kDecode.seconds > 1.9);  // memory follows below 0.6
  CHECK(AtClock(kDecode, 1).seconds == kDecode.seconds);
  const double before = DeviceWatts(H100(), kDecode.bandwidth_share, kDecode.flops_share) * kDecode.seconds;
  CHECK(ClockedWatts(H100(), decode, 0.7) * decode.seconds < 0.75 * before);
}

TEST_CASE("a machine draws its base, its busy devices and its idle ones") {
  CHECK(IdleMachineWatts(DgxH100(), H100()) == 2800);  // the paper's simulator's idle server
  const double busy = DeviceWatts(H100(), 0.4, 0.01);
  CHECK(MachineWatts(DgxH100(), H100(), 8, kDecode) == Approx(2200 + 8 * busy));
  CHECK(MachineWatts(DgxH100(), H100(), 2, kDecode) == Approx(2200 + 2 * busy + 6 * 75));
  CHECK(MachineWatts(DgxH100(), H100(), 8, kPrompt, {.cap_w = 300}) == Approx(2200 + 8 * 300));
  CHECK(StepJoules(1000, kPrompt) == Approx(100));
}

TEST_CASE("reserved watts lose what a cap takes off, once") {
  const Machine& capped = **Catalogue::BuiltIn().FindMachine("dgx-h100-pcap");

  CHECK(ReservedWatts(DgxH100(), H100(), 0) == 10'200);
  CHECK(ReservedWatts(DgxH100(), H100(), 350) == 10'200 - 8 * 350);
  CHECK(ReservedWatts(capped, H100(), 0) == 7140);
  CHECK(ReservedWatts(capped, H100(), 350) == 7140);
  CHECK(ReservedWatts(capped, H100(), 300) == 7140 - 8 * 50);
}

TEST_CASE("dollars are those of the machine or of its devices, energy's include what the site needs") {
  Machine machine = DgxH100();
  CHECK(DollarsPerHour(machine, H100()) == Approx(8 * 2.95));
  machine.dollars_per_hour = 38;
  CHECK(DollarsPerHour(machine, H100()) == 38);
  CHECK(EnergyDollars(3.6e6, {.pue = 1.5, .dollars_per_kwh = 0.2}) == Approx(0.3));
}

}  // namespace
}  // namespace baton::hardware
