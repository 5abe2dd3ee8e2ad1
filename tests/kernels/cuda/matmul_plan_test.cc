#include "kernels/cuda/matmul_plan.h"

#include <catch2/catch.hpp>

namespace baton::kernels::cuda {
namespace {

TEST_CASE("columns lie in segments that are padded to chunks, and every column has one place") {
  for (const std::int64_t columns : {1, 2, 7, 64, 333, 2048, 11008}) {
    INFO(columns << " columns");
    const ColumnLayout layout = LayOutColumns(columns, {});

    CHECK(layout.first == 0);
    CHECK(layout.columns == columns);
    CHECK(layout.bounds.front() == 0);
    CHECK(layout.bounds.back() == columns);
    for (std::size_t i = 0; i < kSegmentsMax; ++i) {
      const int width = layout.bounds[i + 1] - layout.bounds[i];
      const int room = (layout.chunk_bounds[i + 1] - layout.chunk_bounds[i]) * kChunk;
      CHECK(width >= 0);
      CHECK((room >= width && room < width + kChunk));
      CHECK(layout.bounds[i] == std::min<std::int64_t>(SegmentBounds(columns)[i], columns));
    }
  }
}

TEST_CASE("the shares of ranks lay the same segments out as the whole does") {
  for (const std::int64_t columns : {96, 150, 333, 4096}) {
    const ColumnLayout whole = LayOutColumns(columns, {});
    for (const int ranks : {2, 4, 8}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        INFO(columns << " columns, rank " << rank << " of " << ranks);
        const int each = kReductionSegments / ranks;
        const ColumnLayout share = LayOutColumns(columns, {.first = each * rank, .count = each});

        CHECK(share.first == next);
        CHECK(share.segments == each);
        next += share.columns;
        for (int i = 0; i < each; ++i) {
          const auto mine = static_cast<std::size_t>(i);
          const auto all = static_cast<std::size_t>(each * rank + i);
          CHECK(share.bounds[mine + 1] - share.bounds[mine] == whole.bounds[all + 1] - whole.bounds[all]);
          CHECK(share.chunk_bounds[mine + 1] - share.chunk_bounds[mine] ==
                whole.chunk_bounds[all + 1] - whole.chunk_bounds[all]);
        }
        CHECK(share.PaddedColumns() == share.chunk_bounds[static_cast<std::size_t>(each)] * kChunk);
      }
      CHECK(next == columns);
    }
  }
}

TEST_CASE("few rows stream the weights, many take tiles, and splits divide the segments") {
  constexpr int kProcessors = 132;
  CHECK(PlanMatMul(1, 4096, 8, kProcessors).kernel == MatMulKernel::kStream8);
  CHECK(PlanMatMul(8, 4096, 8, kProcessors).kernel == MatMulKernel::kStream8);
  CHECK(PlanMatMul(9, 4096, 8, kProcessors).kernel == MatMulKernel::kStream16);
  CHECK(PlanMatMul(32, 4096, 8, kProcessors).kernel == MatMulKernel::kStream32);
  CHECK(PlanMatMul(64, 4096, 8, kProcessors).kernel == MatMulKernel::kSmallTile);
  CHECK(PlanMatMul(4096, 4096, 8, kProcessors).kernel == MatMulKernel::kLargeTile);
  CHECK(PlanMatMul(4096, 4096, 8, kProcessors).splits == 1);
  for (const std::int64_t rows : {33, 64, 200, 500, 4096}) {
    for (const std::int64_t outputs : {1, 100, 4096, 28672, 128256}) {
      for (const int segments : {1, 2, 4, 8}) {
        INFO(rows << " rows, " << outputs << " outputs, " << segments << " segments");
        const MatMulPlan plan = PlanMatMul(rows, outputs, segments, kProcessors);
        CHECK(segments % plan.splits == 0);
        const std::int64_t side = plan.kernel == MatMulKernel::kLargeTile ? 128 : 64;
        const std::int64_t blocks = (rows + side - 1) / side * ((outputs + side - 1) / side) * plan.splits;
        CHECK((blocks >= kProcessors || plan.splits == segments));
      }
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
