#include "kernels/cuda/fast_matmul.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/on_host_memory.h"

namespace baton::kernels {

/// Two sizes of device, whose work is cut differently and must give the same bits; and the way that a GPU is
/// tested, so that the copying is tested too.
std::vector<BackendCase> EmulatedCases() {
  const auto make = [](ComputeClass compute, int processors) {
    return *cuda::CreateBackendOn(cuda::emulated::CreateDevice(processors), {.compute = compute});
  };
  return {
      {"cuda emulated, f32", [=] { return make(ComputeClass::kF32, 2); }},
      {"cuda emulated, bf16, 1 processor", [=] { return make(ComputeClass::kBF16, 1); }},
      {"cuda emulated, bf16, 100 processors", [=] { return OnHostMemory(make(ComputeClass::kBF16, 100)); }}};
}

}  // namespace baton::kernels
