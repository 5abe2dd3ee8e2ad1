#include "common/hardware/power.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"

namespace baton::hardware {
namespace {

// Dynamic power over the clock: voltage falls with it, so more than linear; 2.5 to 3 are reported.
constexpr double kClockExponent = 2.5;
// Below this share of the highest clock a device no longer keeps its memory busy.
constexpr double kMemoryClock = 0.6;

double EffectiveCap(const Device& device, double cap_w) {
  return std::max(cap_w, device.idle_w + 1);
}

StepTime Longer(StepTime step, double factor) {
  step.seconds *= factor;
  step.sigma *= factor;
  step.bandwidth_share /= factor;
  step.flops_share /= factor;
  return step;
}

double LimitedWatts(const Device& device, const StepTime& step, const PowerLimits& limits) {
  const double watts = ClockedWatts(device, step, limits.clock);
  return limits.cap_w > 0 ? std::min(watts, EffectiveCap(device, limits.cap_w)) : watts;
}

}  // namespace

double DeviceWatts(const Device& device, double bandwidth_share, double flops_share) {
  const PowerCoefficients& power = device.power;
  const double share = power.p0 + power.per_bandwidth * bandwidth_share + power.per_flops * flops_share;
  return std::max(device.idle_w, device.tdp_w * std::min(1.0, share));
}

double CapSlowdown(const Device& device, double watts, double cap_w) {
  if (cap_w <= 0 || watts <= cap_w || watts <= device.idle_w) return 1;
  return std::max(1.0, std::cbrt((watts - device.idle_w) / (EffectiveCap(device, cap_w) - device.idle_w)));
}

StepTime UnderCap(const Device& device, const StepTime& step, double cap_w) {
  const double watts = DeviceWatts(device, step.bandwidth_share, step.flops_share);
  return Longer(step, CapSlowdown(device, watts, cap_w));
}

double CappedWatts(const Device& device, const StepTime& step, double cap_w) {
  return LimitedWatts(device, step, {.cap_w = cap_w});
}

StepTime AtClock(const StepTime& step, double clock) {
  BATON_CHECK(clock > 0 && clock <= 1, "clock {}", clock);
  const double busy = step.bandwidth_share + step.flops_share;
  const double compute = busy > 0 ? step.flops_share / busy : 0;
  const double memory_factor = clock < kMemoryClock ? kMemoryClock / clock : 1;
  return Longer(step, compute / clock + (1 - compute) * memory_factor);
}

double ClockedWatts(const Device& device, const StepTime& step, double clock) {
  const double watts = DeviceWatts(device, step.bandwidth_share, step.flops_share);
  return device.idle_w + (watts - device.idle_w) * std::pow(clock, kClockExponent);
}

double MachineWatts(const Machine& machine, const Device& device, int busy_devices, const StepTime& step,
                    const PowerLimits& limits) {
  const int busy = std::clamp(busy_devices, 0, machine.devices);
  return machine.base_w + busy * LimitedWatts(device, step, limits) +
         (machine.devices - busy) * device.idle_w;
}

double IdleMachineWatts(const Machine& machine, const Device& device) {
  return machine.base_w + machine.devices * device.idle_w;
}

double EnergyDollars(double joules, const Tariff& tariff) {
  return joules / 3.6e6 * tariff.pue * tariff.dollars_per_kwh;
}

double DollarsPerHour(const Machine& machine, const Device& device) {
  return machine.dollars_per_hour > 0 ? machine.dollars_per_hour : machine.devices * device.dollars_per_hour;
}

double ReservedWatts(const Machine& machine, const Device& device, double cap_w) {
  const double rated =
      machine.rated_w > 0 ? machine.rated_w : machine.base_w + machine.devices * device.tdp_w;
  const double before = machine.gpu_cap_w > 0 ? machine.gpu_cap_w : device.tdp_w;
  if (cap_w <= 0 || cap_w >= before) return rated;
  return rated - machine.devices * (before - cap_w);
}

}  // namespace baton::hardware
