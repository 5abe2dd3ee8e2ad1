#include "engine/worker/compute.h"

#include "common/base/error.h"
#include "common/base/log.h"

namespace baton::engine {

namespace {

/// What of this a GPU cannot do; empty: nothing.
std::string MissingOnGpus(const ComputeDemand& demand) {
  if (demand.cpu.compute == kernels::ComputeClass::kInt8)
    return "compute.class is int8, which GPUs do not have";
  const kernels::DType own =
      demand.cpu.compute == kernels::ComputeClass::kF32 ? kernels::DType::kF32 : kernels::DType::kBF16;
  if (demand.cpu.kv.value_or(own) != own)
    return "kv.dtype is not that of compute.class, in which a GPU keeps KV";
  if (demand.ranks > 1) return fmt::format("compute.ranks is {}, and a worker uses one GPU", demand.ranks);
  if (demand.block_tokens != 16)
    return fmt::format("kv.block_tokens is {}, and a GPU has blocks of 16", demand.block_tokens);
  return "";
}

}  // namespace

absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config, const ComputeDemand& demand,
                                            const absl::StatusOr<std::string>& gpu) {
  if (config.backend == BackendChoice::kCpu) return ChosenBackend{.why = "compute.backend is cpu"};
  const std::string missing = MissingOnGpus(demand);
  if (config.backend == BackendChoice::kCuda) {
    if (!missing.empty()) return Error(kInvalidArgument, "compute.backend is cuda, but {}", missing);
    if (!gpu.ok()) return Error(kFailedPrecondition, "compute.backend is cuda: {}", Message(gpu.status()));
  }
  if (!missing.empty()) return ChosenBackend{.why = missing};
  if (!gpu.ok()) return ChosenBackend{.why = Message(gpu.status())};
  return ChosenBackend{.cuda = true, .why = fmt::format("GPU {}, {}", config.device, *gpu)};
}

absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config, const ComputeDemand& demand) {
  if (config.backend == BackendChoice::kCpu) return ChooseBackend(config, demand, std::string());
  return ChooseBackend(config, demand, kernels::FindCudaDevice(config.device));
}

absl::StatusOr<std::vector<std::unique_ptr<kernels::Backend>>> OpenBackends(const DeviceConfig& config,
                                                                            const ComputeDemand& demand) {
  BATON_ASSIGN_OR_RETURN(const ChosenBackend chosen, ChooseBackend(config, demand));
  LogInfo("backend_chosen", {{"backend", chosen.cuda ? "cuda" : "cpu"}, {"why", chosen.why}});
  if (!chosen.cuda) return kernels::CreateCpuRanks(demand.cpu, demand.ranks);
  std::vector<std::unique_ptr<kernels::Backend>> backends;
  BATON_ASSIGN_OR_RETURN(backends.emplace_back(), kernels::CreateCudaBackend({.compute = demand.cpu.compute,
                                                                              .device = config.device,
                                                                              .graphs = config.graphs}));
  return backends;
}

}  // namespace baton::engine
