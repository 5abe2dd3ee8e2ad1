// Stands for libnvidia-ml.so.1 with one GPU, at 0000:3b:00.0.
#include "tests/common/sensors/fake_nvml.h"

#include <cstdio>
#include <cstring>

namespace {
FakeNvml state;
}  // namespace

extern "C" {

FakeNvml* fake_nvml_state() {
  return &state;
}

int nvmlInit_v2() {
  if (state.init_code == 0) ++state.begun;
  return state.init_code;
}
int nvmlShutdown() {
  --state.begun;
  return 0;
}
const char* nvmlErrorString(int code) {
  return code == 4 ? "Insufficient Permissions" : code == 15 ? "GPU is lost" : "Some Error";
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  *device = &state;
  return std::strcmp(bus_id, "0000:3b:00.0") == 0 ? 0 : 6;
}
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* energy) {
  *energy = static_cast<FakeNvml*>(device)->energy_mj;
  return state.energy_code;
}
int nvmlDeviceGetName(void*, char* name, unsigned length) {
  std::snprintf(name, length, "Fake GPU");
  return 0;
}
int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
  *milliwatts = 312500;
  return state.power_code;
}
int nvmlDeviceGetPowerManagementLimit(void*, unsigned* milliwatts) {
  *milliwatts = state.limit_mw;
  return 0;
}
int nvmlDeviceGetPowerManagementLimitConstraints(void*, unsigned* least, unsigned* most) {
  *least = 200000;
  *most = 700000;
  return 0;
}
int nvmlDeviceGetTemperature(void*, unsigned sensor, unsigned* celsius) {
  *celsius = 41;
  return sensor == 0 ? 0 : 2;
}
int nvmlDeviceGetClockInfo(void*, unsigned type, unsigned* megahertz) {
  *megahertz = 1755;
  return type == 1 ? 0 : 2;
}
int nvmlDeviceSetPowerManagementLimit(void*, unsigned milliwatts) {
  if (state.set_code == 0) state.limit_mw = milliwatts;
  return state.set_code;
}
int nvmlDeviceSetGpuLockedClocks(void*, unsigned low, unsigned high) {
  if (state.set_code == 0) {
    state.locked_low = low;
    state.locked_high = high;
  }
  return state.set_code;
}
int nvmlDeviceResetGpuLockedClocks(void*) {
  ++state.resets;
  return 0;
}

}  // extern "C"
