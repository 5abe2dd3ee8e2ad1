#pragma once

/// What the fake NVML is told and what it was asked; its address is what `fake_nvml_state` of the library
/// gives. Plain numbers: both sides see the same memory.
struct FakeNvml {
  int init_code = 0;
  int energy_code = 0;
  int set_code = 0;
  int power_code = 0;
  unsigned long long energy_mj = 5000;
  unsigned limit_mw = 700000;
  unsigned locked_low = 0;
  unsigned locked_high = 0;
  int resets = 0;
  int begun = 0;  // inits less shutdowns
};
