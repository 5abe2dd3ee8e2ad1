#include "engine/worker/compute.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"

namespace baton::engine {

namespace {

/// What of this a GPU cannot do; empty: nothing.
std::string MissingOnGpus(const DeviceConfig& config, const ComputeDemand& demand) {
  if (demand.cpu.compute == kernels::ComputeClass::kInt8)
    return "compute.class is int8, which GPUs do not have";
  const kernels::DType own =
      demand.cpu.compute == kernels::ComputeClass::kF32 ? kernels::DType::kF32 : kernels::DType::kBF16;
  if (demand.cpu.kv.value_or(own) != own)
    return "kv.dtype is not that of compute.class, in which a GPU keeps KV";
  if (!config.invariant && demand.cpu.compute == kernels::ComputeClass::kF32)
    return "compute.class is f32, whose matmuls are never a library's (compute.invariant: false)";
  if (config.invariant && demand.cpu.compute == kernels::ComputeClass::kFp8)
    return "compute.class is fp8, whose matmuls are a library's in no fixed order: say compute.invariant: "
           "false";
  if (demand.block_tokens != 16)
    return fmt::format("kv.block_tokens is {}, and a GPU has blocks of 16", demand.block_tokens);
  return "";
}

absl::StatusOr<ChosenBackend> OnCpu(const ComputeDemand& demand, std::string why) {
  if (demand.cpu.compute == kernels::ComputeClass::kFp8)
    return Error(kInvalidArgument, "compute.class is fp8, which GPUs alone have: {}", why);
  return ChosenBackend{.why = std::move(why)};
}

/// What the ranks' GPUs are called, or which of them is missing.
absl::StatusOr<std::string> FindGpus(const DeviceConfig& config, const ComputeDemand& demand) {
  const int ranks = demand.ranks;
  if (ranks == 1) return kernels::FindCudaDevice(config.device, demand.cpu.compute);
  std::string name;
  for (int rank = 0; rank < ranks; ++rank) {
    auto found = kernels::FindCudaDevice(config.device + rank, demand.cpu.compute);
    if (!found.ok()) {
      return Annotate(found.status(),
                      fmt::format("rank {} of {} is to have GPU {} (compute.device and those after it)", rank,
                                  ranks, config.device + rank));
    }
    if (rank == 0) name = *std::move(found);
  }
  BATON_RETURN_IF_ERROR(
      Annotate(kernels::FindGpuGroups(), fmt::format("{} ranks on GPUs meet by NCCL", ranks)));
  return name;
}

}  // namespace

absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config, const ComputeDemand& demand,
                                            const absl::StatusOr<std::string>& gpu) {
  if (config.backend == BackendChoice::kCpu) return OnCpu(demand, "compute.backend is cpu");
  const std::string missing = MissingOnGpus(config, demand);
  if (config.backend == BackendChoice::kCuda) {
    if (!missing.empty()) return Error(kInvalidArgument, "compute.backend is cuda, but {}", missing);
    if (!gpu.ok()) return Error(kFailedPrecondition, "compute.backend is cuda: {}", Message(gpu.status()));
  }
  if (!missing.empty()) return OnCpu(demand, missing);
  if (!gpu.ok()) return OnCpu(demand, Message(gpu.status()));
  const std::string which =
      demand.ranks == 1 ? fmt::format("GPU {}", config.device)
                        : fmt::format("GPUs {} to {}", config.device, config.device + demand.ranks - 1);
  return ChosenBackend{.cuda = true, .why = fmt::format("{}, {}", which, *gpu)};
}

absl::StatusOr<ChosenBackend> ChooseBackend(const DeviceConfig& config, const ComputeDemand& demand) {
  if (config.backend == BackendChoice::kCpu) return ChooseBackend(config, demand, std::string());
  return ChooseBackend(config, demand, FindGpus(config, demand));
}

absl::StatusOr<OpenedDevices> OpenForRanks(const DeviceConfig& config, const ComputeDemand& demand) {
  BATON_ASSIGN_OR_RETURN(const ChosenBackend chosen, ChooseBackend(config, demand));
  LogInfo("backend_chosen", {{"backend", chosen.cuda ? "cuda" : "cpu"}, {"why", chosen.why}});
  OpenedDevices out;
  if (!chosen.cuda) {
    BATON_ASSIGN_OR_RETURN(out.ranks, kernels::CreateCpuRanks(demand.cpu, demand.ranks));
    return out;
  }
  out.group.keeps_order = config.invariant;
  for (int rank = 0; rank < demand.ranks; ++rank) {
    BATON_ASSIGN_OR_RETURN(out.ranks.emplace_back(),
                           kernels::CreateCudaBackend({.compute = demand.cpu.compute,
                                                       .invariant = config.invariant,
                                                       .device = config.device + rank,
                                                       .graphs = config.graphs}));
  }
  return out;
}

}  // namespace baton::engine
