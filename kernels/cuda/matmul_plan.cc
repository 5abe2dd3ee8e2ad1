#include "kernels/cuda/matmul_plan.h"

#include <algorithm>
#include <bit>

#include "common/base/check.h"

namespace baton::kernels::cuda {

ColumnLayout LayOutColumns(std::int64_t columns, SegmentRange segments) {
  BATON_CHECK(segments.first >= 0 && segments.first + segments.count <= kReductionSegments &&
                  std::has_single_bit(static_cast<unsigned>(segments.count)),
              "segments {} to {} are no share", segments.first, segments.first + segments.count);
  const auto all = SegmentBounds(columns);
  const auto bound = [&](int segment) {
    return std::min<std::int64_t>(all[static_cast<std::size_t>(segment)], columns);
  };
  ColumnLayout layout{.first = bound(segments.first), .segments = segments.count};
  layout.columns = bound(segments.first + segments.count) - layout.first;
  for (std::size_t i = 1; i <= kSegmentsMax; ++i) {
    const int segment = segments.first + std::min(static_cast<int>(i), segments.count);
    layout.bounds[i] = static_cast<int>(bound(segment) - layout.first);
    const int width = layout.bounds[i] - layout.bounds[i - 1];
    layout.chunk_bounds[i] = layout.chunk_bounds[i - 1] + (width + kChunk - 1) / kChunk;
  }
  return layout;
}

MatMulPlan PlanMatMul(std::int64_t rows, std::int64_t outputs, int segments, int processors) {
  if (rows <= 8) return {.kernel = MatMulKernel::kStream8};
  if (rows <= 16) return {.kernel = MatMulKernel::kStream16};
  if (rows <= 32) return {.kernel = MatMulKernel::kStream32};
  const auto blocks = [&](std::int64_t side) {
    return (rows + side - 1) / side * ((outputs + side - 1) / side);
  };
  if (rows > 128 && blocks(128) >= processors) return {.kernel = MatMulKernel::kLargeTile};
  // Two blocks a multiprocessor hide each other's waits; more splits cost traffic of partial sums.
  MatMulPlan plan{.kernel = MatMulKernel::kSmallTile};
  while (plan.splits < segments && blocks(64) * plan.splits < 2 * std::int64_t{processors}) plan.splits *= 2;
  return plan;
}

}  // namespace baton::kernels::cuda
