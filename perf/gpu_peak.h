#pragma once

#include <cstddef>

#include <absl/status/statusor.h>

#include "kernels/cuda/fast_matmul.h"

/// What a GPU can do at most, measured: the limits that an engine's figures are held against.
namespace baton::perf {

struct GpuPeakOptions {
  kernels::cuda::Element element = kernels::cuda::Element::kBF16;  // or kFp8
  int side = 8192;                           // of the square matrices that are multiplied
  std::size_t bytes = std::size_t{2} << 30;  // that are copied; beyond every cache
  int repeats = 20;
};
struct GpuPeak {
  double gflops = 0;  // cuBLASLt's, of one large product
  double gbytes = 0;  // read and written by a copy within the memory, 10^9 a second
};
/// ResourceExhausted where the memory for it is not there.
[[nodiscard]] absl::StatusOr<GpuPeak> MeasureGpuPeak(kernels::cuda::Device& device,
                                                     kernels::cuda::FastMatMul& fast,
                                                     const GpuPeakOptions& options);

}  // namespace baton::perf
