// Linked where the build has no CUDA or no NCCL, in the place of nccl_communicator.cc.
#include "common/base/error.h"
#include "kernels/communicator.h"

namespace baton::kernels {

absl::Status FindGpuGroups(const GpuGroupOptions&) {
  return Error(kFailedPrecondition, "this binary was built without NCCL; build it where nccl.h is found");
}

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> CreateGpuCommunicators(
    std::span<Backend* const>, const GpuGroupOptions& options) {
  return FindGpuGroups(options);
}

}  // namespace baton::kernels
