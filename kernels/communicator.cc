#include "kernels/communicator.h"

#include <algorithm>

namespace baton::kernels {

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> CreateCommunicators(
    std::span<const std::unique_ptr<Backend>> ranks, const GpuGroupOptions& options) {
  const auto on_device = [](const auto& rank) { return rank->Memory() == MemoryKind::kDevice; };
  if (std::ranges::none_of(ranks, on_device))
    return CreateInProcessCommunicators(static_cast<int>(ranks.size()));
  std::vector<Backend*> backends;
  for (const auto& rank : ranks) backends.push_back(rank.get());
  return CreateGpuCommunicators(backends, options);
}

}  // namespace baton::kernels
