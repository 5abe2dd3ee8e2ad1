// The kernels for a GPU; kernels.h's table is all that the host's code sees.
#include "kernels/cuda/device_words.cuh"
#include "kernels/cuda/launches.h"

namespace baton::kernels::cuda {
namespace {

#include "kernels/cuda/rows_inl.h"

#include "kernels/cuda/highest_inl.h"

#include "kernels/cuda/draw_inl.h"

#include "kernels/cuda/matmul_inl.h"

#include "kernels/cuda/attention_inl.h"

#include "kernels/cuda/launches_inl.h"

}  // namespace

const Launches kDeviceLaunches = kLaunches;

int LoadDeviceKernels() {
  for (const void* kernel : AllKernels()) {
    cudaFuncAttributes attributes{};
    cudaError_t code = cudaFuncGetAttributes(&attributes, kernel);
    // For all alike: what a launch then takes is its own affair.
    if (code == cudaSuccess)
      code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBlockSharedBytes);
    if (code != cudaSuccess) return static_cast<int>(code);
  }
  return 0;
}

}  // namespace baton::kernels::cuda
