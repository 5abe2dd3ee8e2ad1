#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "simulator/native_world.h"

/// Machines whose times can be worked out by hand.
namespace baton::simulator {

using router::MachineRole;

/// Prompts take 1 ms a token, a step with decodes 10 ms more.
class PlainModel final : public hardware::PerfModel {
 public:
  hardware::StepTime Time(const hardware::StepWork& work) const override {
    hardware::StepTime time;
    for (const hardware::PromptPiece& piece : work.prompts) {
      time.seconds += 0.001 * static_cast<double>(piece.tokens);
    }
    if (work.decodes > 0) time.seconds += 0.01;
    return time;
  }
};

inline NativeMachine PlainMachine(MachineRole role, std::int64_t blocks = 10'000) {
  NativeMachine machine;
  machine.role = role;
  machine.perf = std::make_shared<PlainModel>();
  machine.kv_blocks = blocks;
  machine.nic_bandwidth = 1000;
  machine.device.idle_w = 50;
  machine.device.tdp_w = 400;
  machine.machine.devices = 2;
  machine.machine.base_w = 100;
  return machine;
}

inline NativeSetup Setup(std::vector<NativeMachine> machines) {
  return {.machines = std::move(machines), .kv_bytes_per_token = 1, .layers = 10};
}

inline Workload Load(std::vector<WorkloadRequest> requests) {
  return {"by hand", std::move(requests)};
}

}  // namespace baton::simulator
