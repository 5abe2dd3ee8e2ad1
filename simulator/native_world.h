#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/hardware/catalogue.h"
#include "common/hardware/perf_model.h"
#include "router/policy/pools.h"
#include "simulator/run.h"

/// Mode kNative: Baton as it is built. Placement, batch planning, the choice of whom to preempt and of what
/// migrates are the production's functions; the world supplies time, memory, network and failures.
namespace baton::simulator {

struct NativeMachine {
  router::MachineRole role = router::MachineRole::kWhole;
  std::int32_t pool = 0;
  std::shared_ptr<const hardware::PerfModel> perf;
  std::int64_t kv_blocks = 0;
  double nic_bandwidth = 0;   // bytes/s each direction
  hardware::Machine machine;  // its share, where several instances share one
  hardware::Device device;
  double gpu_cap_w = 0;
};

struct NativeSetup {
  std::vector<NativeMachine> machines;
  double kv_bytes_per_token = 0;
  int layers = 1;
};

/// Runs to the end of the work, or until nothing can move any more.
[[nodiscard]] RunResult RunNative(const NativeSetup& setup, const Workload& workload, router::Placer& placer,
                                  const RunOptions& options);

}  // namespace baton::simulator
