#pragma once

#include "common/hardware/catalogue.h"
#include "common/hardware/perf_model.h"

/// Watts, joules and dollars. Pure functions. Sources of the laws: docs/POLICY.md.
namespace baton::hardware {

/// What one device draws while it achieves these shares of its peaks.
[[nodiscard]] double DeviceWatts(const Device& device, double bandwidth_share, double flops_share);

/// How much longer a step takes where the device may draw `cap_w` and would draw `watts`: the cube root of
/// the ratio of what both leave above idle, for power grows with the cube of the clock. 1 where the cap does
/// not bind or is 0 (none). A cap at or below idle power counts as one watt above it.
[[nodiscard]] double CapSlowdown(const Device& device, double watts, double cap_w);

/// `step` on devices that may draw `cap_w` each.
[[nodiscard]] StepTime UnderCap(const Device& device, const StepTime& step, double cap_w);
/// Watts of a device in a step that UnderCap has slowed: never above the cap.
[[nodiscard]] double CappedWatts(const Device& device, const StepTime& step, double cap_w);

/// `step` at `clock`, a share of the highest, in (0, 1]. Compute takes 1/clock as long, memory as long as
/// before down to 0.6, where its own clock begins to follow. What of a step is compute is taken from its
/// shares of the two peaks.
[[nodiscard]] StepTime AtClock(const StepTime& step, double clock);
/// Watts of a device in a step that AtClock has made.
[[nodiscard]] double ClockedWatts(const Device& device, const StepTime& step, double clock);

/// How a pool's devices are held back; both may be.
struct PowerLimits {
  double cap_w = 0;  // of each device; 0: none
  double clock = 1;  // share of the highest
};

/// A whole machine while `busy_devices` of its devices work on `step`, made under `limits`, and the others
/// idle.
[[nodiscard]] double MachineWatts(const Machine& machine, const Device& device, int busy_devices,
                                  const StepTime& step, const PowerLimits& limits = {});
/// A machine that is on and does nothing.
[[nodiscard]] double IdleMachineWatts(const Machine& machine, const Device& device);

/// `joules` at `seconds` is MachineWatts x seconds; named, for it is what the simulator adds up.
[[nodiscard]] inline double StepJoules(double machine_watts, const StepTime& step) {
  return machine_watts * step.seconds;
}

/// What electricity costs. `pue`: all that the site draws over what its machines draw.
struct Tariff {
  double pue = 1.2;  // of a good site; between 1.1 and 1.6 are common
  double dollars_per_kwh = 0.10;
};
[[nodiscard]] double EnergyDollars(double joules, const Tariff& tariff = {});
/// Renting the machine for an hour; 0: unknown.
[[nodiscard]] double DollarsPerHour(const Machine& machine, const Device& device);
/// What a rack reserves: the rating, less what a cap of the devices takes off that the entry has not.
[[nodiscard]] double ReservedWatts(const Machine& machine, const Device& device, double cap_w);

}  // namespace baton::hardware
