#include "engine/worker/compute.h"

#include "common/base/error.h"
#include "common/base/log.h"

namespace baton::engine {

absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config, kernels::ComputeClass compute,
                                            const absl::StatusOr<std::string>& gpu) {
  if (config.backend == BackendChoice::kCpu) return ChosenBackend{.why = "compute.backend is cpu"};
  const bool has_class = compute != kernels::ComputeClass::kInt8;
  if (config.backend == BackendChoice::kCuda) {
    if (!has_class) {
      return Error(kInvalidArgument,
                   "compute.backend is cuda, compute.class int8: a GPU computes in bf16 or f32");
    }
    if (!gpu.ok()) return Error(kFailedPrecondition, "compute.backend is cuda: {}", Message(gpu.status()));
  }
  if (!has_class) return ChosenBackend{.why = "compute.class is int8, which GPUs do not have"};
  if (!gpu.ok()) return ChosenBackend{.why = Message(gpu.status())};
  return ChosenBackend{.cuda = true, .why = fmt::format("GPU {}, {}", config.device, *gpu)};
}

absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config, kernels::ComputeClass compute) {
  if (config.backend == BackendChoice::kCpu) return ChooseBackend(config, compute, std::string());
  return ChooseBackend(config, compute, kernels::FindCudaDevice(config.device));
}

absl::StatusOr<std::unique_ptr<kernels::Backend>> OpenBackend(const DeviceConfig& config,
                                                              const kernels::CpuOptions& cpu) {
  BATON_ASSIGN_OR_RETURN(const ChosenBackend chosen, ChooseBackend(config, cpu.compute));
  LogInfo("backend_chosen", {{"backend", chosen.cuda ? "cuda" : "cpu"}, {"why", chosen.why}});
  if (!chosen.cuda) return kernels::CreateCpuBackend(cpu);
  return kernels::CreateCudaBackend(
      {.compute = cpu.compute, .device = config.device, .graphs = config.graphs});
}

}  // namespace baton::engine
