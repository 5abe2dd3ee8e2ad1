// Linked where the build has no CUDA or no cublasLt.h, in the place of cublaslt.cc.
#include "common/base/error.h"
#include "kernels/cuda/fast_matmul.h"

namespace baton::kernels::cuda {

absl::StatusOr<std::unique_ptr<FastMatMul>> OpenCublasLt(Device&, const std::string&) {
  return Error(kFailedPrecondition,
               "this binary was built without cuBLASLt; build it where cublasLt.h is found");
}

}  // namespace baton::kernels::cuda
