#include "kernels/cuda/fast_matmul.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/rank_cases.h"

namespace baton::kernels {

std::vector<RankCase> NcclCases(bool keeps_order) {
  return {{"NCCL's stand-in, emulated devices", [keeps_order](int ranks) {
             Ranks group;
             std::vector<Backend*> backends;
             for (int rank = 0; rank < ranks; ++rank) {
               group.backends.push_back(*cuda::CreateBackendOn(cuda::emulated::CreateDevice(2), {}));
               backends.push_back(group.backends.back().get());
             }
             group.communicators =
                 *CreateGpuCommunicators(backends, {.keeps_order = keeps_order, .library = FAKE_NCCL});
             return group;
           }}};
}

}  // namespace baton::kernels
