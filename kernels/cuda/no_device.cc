// Linked where the build has no CUDA, in the place of cuda_device.cc and kernels.cu.
#include "common/base/error.h"
#include "kernels/cuda/device.h"

namespace baton::kernels::cuda {

absl::StatusOr<DeviceFacts> FindDevice(int) {
  return Error(kFailedPrecondition, "this binary was built without CUDA; build it where nvcc is found");
}

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(int index) {
  return FindDevice(index).status();
}

}  // namespace baton::kernels::cuda

namespace baton::kernels {

absl::StatusOr<std::string> CudaBusId(int device) {
  return cuda::OpenDevice(device).status();
}

}  // namespace baton::kernels
