#pragma once

#include <array>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/launches.h"

namespace baton::kernels::cuda {

/// How the columns of a weight matrix lie in device memory: the share's segments one after another, each
/// padded with zeros to whole chunks. Entries after the share's last segment repeat its end.
struct ColumnLayout {
  std::int64_t first = 0;    // column of the stored matrix
  std::int64_t columns = 0;  // of the share
  int segments = 0;
  std::array<int, kSegmentsMax + 1> bounds{};        // in columns of the share
  std::array<int, kSegmentsMax + 1> chunk_bounds{};  // in chunks
  [[nodiscard]] int PaddedColumns() const { return chunk_bounds.back() * kChunk; }
};
[[nodiscard]] ColumnLayout LayOutColumns(std::int64_t columns, SegmentRange segments);

struct MatMulPlan {
  MatMulKernel kernel = MatMulKernel::kStream8;
  int splits = 1;  // of the segments, over blocks
};

/// Which kernel multiplies `rows` rows: what matters is speed alone, since all give the same bits.
[[nodiscard]] MatMulPlan PlanMatMul(std::int64_t rows, std::int64_t outputs, int segments, int processors);

}  // namespace baton::kernels::cuda
