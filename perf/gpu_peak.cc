#include "perf/gpu_peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "common/base/error.h"
#include "common/base/random.h"

namespace baton::perf {
namespace {

using kernels::Buffer;
using kernels::cuda::Device;
using kernels::cuda::Element;

/// Seconds of `repeats` rounds of `work` in the device's queue, after one that warms up.
template <typename Work>
absl::StatusOr<double> Time(Device& device, int repeats, const Work& work) {
  BATON_RETURN_IF_ERROR(work());
  BATON_RETURN_IF_ERROR(device.Synchronize());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) BATON_RETURN_IF_ERROR(work());
  BATON_RETURN_IF_ERROR(device.Synchronize());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Random numbers between 1 and 2 of both signs: a product of zeros draws less power, so that a GPU that its
/// power limits would multiply them faster than anything real.
absl::StatusOr<Buffer> RandomMatrix(Device& device, std::size_t elements, Element element) {
  const std::size_t bytes = elements * (element == Element::kFp8 ? 1 : 2);
  BATON_ASSIGN_OR_RETURN(Buffer matrix, device.Allocate(bytes));
  std::vector<std::uint64_t> piece(std::min<std::size_t>(bytes / 8, std::size_t{1} << 20));
  const bool fp8 = element == Element::kFp8;
  const std::uint64_t random = fp8 ? 0x8787878787878787 : 0x807f807f807f807f;  // signs and fractions
  const std::uint64_t fixed = fp8 ? 0x3838383838383838 : 0x3f803f803f803f80;   // exponents of 1
  RandomStream stream(1);
  for (std::uint64_t& word : piece) word = (stream.Bits() & random) | fixed;
  for (std::size_t done = 0; done < bytes; done += piece.size() * 8) {
    device.Copy(matrix.Region().address + done, piece.data(), std::min(piece.size() * 8, bytes - done));
    BATON_RETURN_IF_ERROR(device.Synchronize());
  }
  return matrix;
}

absl::StatusOr<double> CopyGbytes(Device& device, const GpuPeakOptions& options) {
  BATON_ASSIGN_OR_RETURN(const Buffer from, device.Allocate(options.bytes));
  BATON_ASSIGN_OR_RETURN(const Buffer to, device.Allocate(options.bytes));
  BATON_ASSIGN_OR_RETURN(const double seconds, Time(device, options.repeats, [&] {
                           device.Copy(to.Region().address, from.Region().address, options.bytes);
                           return absl::OkStatus();
                         }));
  return 2.0 * static_cast<double>(options.bytes) * options.repeats / seconds / 1e9;
}

absl::StatusOr<double> ProductGflops(Device& device, kernels::cuda::FastMatMul& fast,
                                     const GpuPeakOptions& options) {
  const auto side = static_cast<std::size_t>(options.side);
  BATON_ASSIGN_OR_RETURN(const Buffer weight, RandomMatrix(device, side * side, options.element));
  BATON_ASSIGN_OR_RETURN(const Buffer in, RandomMatrix(device, side * side, options.element));
  BATON_ASSIGN_OR_RETURN(const Buffer out, device.Allocate(side * side * sizeof(float)));
  const kernels::cuda::MatMulArguments product{.weight = weight.Region().address,
                                               .in = in.Region().address,
                                               .weight_stride = options.side,
                                               .in_stride = options.side,
                                               .out = out.As<float>(),
                                               .out_stride = options.side,
                                               .rows = options.side,
                                               .outputs = options.side};
  BATON_ASSIGN_OR_RETURN(const double seconds, Time(device, options.repeats, [&] {
                           return fast.Run(device.MainQueue(), product, options.element);
                         }));
  const auto edge = static_cast<double>(options.side);
  return 2 * edge * edge * edge * options.repeats / seconds / 1e9;
}

}  // namespace

absl::StatusOr<GpuPeak> MeasureGpuPeak(Device& device, kernels::cuda::FastMatMul& fast,
                                       const GpuPeakOptions& options) {
  GpuPeak peak;
  BATON_ASSIGN_OR_RETURN(peak.gbytes, CopyGbytes(device, options));
  BATON_ASSIGN_OR_RETURN(peak.gflops, ProductGflops(device, fast, options));
  return peak;
}

}  // namespace baton::perf
