#pragma once

#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "kernels/backend.h"
#include "kernels/communicator.h"

namespace baton::engine {

/// What `compute.backend` says.
enum class BackendChoice { kAuto, kCpu, kCuda };

/// The `compute` section, where it is not the CPU's own.
struct DeviceConfig {
  BackendChoice backend = BackendChoice::kAuto;
  int device = 0;  // which GPU; with ranks the first's, the others' follow it
  /// False: a GPU's matmuls and sums over ranks are its libraries', in whatever order is fastest; a numerics
  /// class of its own, in which bits depend on the batch. A CPU has no such thing.
  bool invariant = true;
  bool graphs = true;  // steps of a GPU are replayed where they are alike
};

/// What is to be computed, as far as not everything can do it.
struct ComputeDemand {
  kernels::CpuOptions cpu;  // the class and the KV type also where a GPU computes
  int ranks = 1;
  int block_tokens = 16;  // of a KV block
};

/// What a worker computes on, and why.
struct ChosenBackend {
  bool cuda = false;
  std::string why;  // "GPU 0, NVIDIA H200", "compute.class is int8, which GPUs do not have"
};

/// Pure: `gpu` is the name of the devices that are asked for, or what is missing. FailedPrecondition where a
/// GPU is asked for that cannot be had, InvalidArgument where it cannot meet the demand; the message names
/// the field.
[[nodiscard]] absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config,
                                                          const ComputeDemand& demand,
                                                          const absl::StatusOr<std::string>& gpu);
/// The same for this machine.
[[nodiscard]] absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config,
                                                          const ComputeDemand& demand);
/// What the ranks compute on, one each, and how they meet.
struct OpenedDevices {
  std::vector<std::unique_ptr<kernels::Backend>> ranks;
  kernels::GpuGroupOptions group = {};
};
/// What ChooseBackend says.
[[nodiscard]] absl::StatusOr<OpenedDevices> OpenForRanks(const DeviceConfig& config,
                                                         const ComputeDemand& demand);

}  // namespace baton::engine
