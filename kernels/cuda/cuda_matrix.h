#pragma once

#include <memory>
#include <utility>

#include <absl/status/statusor.h>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/matmul_plan.h"

namespace baton::kernels::cuda {

/// A matrix in device memory, row-major: in class bf16 padded as its layout says, in class f32 widened, in
/// class fp8 padded, 8-bit floats with a scale for each row; a matrix that is not to be rounded so, or whose
/// rows are no multiple of 16, is as in class bf16.
class CudaMatrix final : public PackedMatrix {
 public:
  /// Copies the columns of the share, some rows at a time.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<CudaMatrix>> Create(const WeightView& weight,
                                                                          const PackOptions& options,
                                                                          ComputeClass compute,
                                                                          Device& device);
  CudaMatrix(Buffer buffer, Buffer scales, std::int64_t rows, const ColumnLayout& layout)
      : buffer_(std::move(buffer)), scales_(std::move(scales)), rows_(rows), layout_(layout) {}

  [[nodiscard]] std::int64_t Rows() const override { return rows_; }
  [[nodiscard]] std::int64_t Columns() const override { return layout_.columns; }
  [[nodiscard]] std::size_t Bytes() const override { return buffer_.Bytes() + scales_.Bytes(); }
  [[nodiscard]] const ColumnLayout& Layout() const { return layout_; }
  [[nodiscard]] const void* Data() const { return buffer_.Region().address; }
  /// [row] where it is fp8; null: it is not.
  [[nodiscard]] const float* Scales() const { return scales_.As<float>(); }

 private:
  Buffer buffer_;
  Buffer scales_;
  std::int64_t rows_;
  ColumnLayout layout_;
};

}  // namespace baton::kernels::cuda
