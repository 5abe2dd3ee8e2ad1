#pragma once

#include <memory>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "kernels/cuda/device.h"

namespace baton::kernels::cuda {

/// A library's matmul of bf16 or fp8, which sums in an order of its own choosing: fast, and a row's bits may
/// depend on the batch. One thread at a time, that of the device.
class FastMatMul {
 public:
  virtual ~FastMatMul() = default;
  /// Enqueues the product that `arguments` says; its segments and splits mean nothing here. K is not 0. fp8
  /// takes outputs by 16 and knows no scales.
  [[nodiscard]] virtual absl::Status Run(Queue queue, const MatMulArguments& arguments, Element element) = 0;
};

/// cuBLASLt, loaded at run time; "": the version that this build has the headers of. FailedPrecondition where
/// build or machine has none.
[[nodiscard]] absl::StatusOr<std::unique_ptr<FastMatMul>> OpenCublasLt(Device& device,
                                                                       const std::string& library = "");

/// The backend on any device; `OpenDevice` gives real ones, tests an emulation. `fast` goes with
/// `options.invariant` false.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Backend>> CreateBackendOn(
    std::unique_ptr<Device> device, const CudaOptions& options, std::unique_ptr<FastMatMul> fast = nullptr);

}  // namespace baton::kernels::cuda
