#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include <absl/status/statusor.h>

#include "kernels/backend.h"
#include "kernels/cpu/inner_kernels.h"
#include "kernels/cpu/thread_pool.h"

namespace baton::kernels::cpu {

/// Bytes behind the last panel that a matmul may read: a tile of weights is 16 steps of 128 bytes, also where
/// a segment ends earlier.
inline constexpr std::size_t kReadPastPanels = std::size_t{15} * 128;

/// A matrix in panels of 32 outputs, each panel whole K, the last one padded with zeros.
class CpuMatrix final : public PackedMatrix {
 public:
  /// Copies the columns of the segments into panels, in parallel. ResourceExhausted names the size.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<CpuMatrix>> Create(const WeightView& weight,
                                                                         const PackOptions& options,
                                                                         ComputeClass compute,
                                                                         Backend& backend, ThreadPool& pool);

  [[nodiscard]] std::int64_t Rows() const override { return rows_; }
  [[nodiscard]] std::int64_t Columns() const override { return columns_; }
  [[nodiscard]] std::size_t Bytes() const override { return buffer_.Bytes(); }
  [[nodiscard]] PanelFormat Format() const { return format_; }
  [[nodiscard]] std::int64_t Panels() const { return (rows_ + kPanelColumns - 1) / kPanelColumns; }
  [[nodiscard]] const std::byte* Panel(std::int64_t index) const {
    return buffer_.As<std::byte>() + index * panel_bytes_;
  }
  [[nodiscard]] std::int64_t PanelBytes() const { return panel_bytes_; }
  /// Of the segments, in what a tile of this format counts: elements, or steps of four bytes.
  [[nodiscard]] const std::array<std::int32_t, kReductionSegments + 1>& TileBounds() const {
    return format_ == PanelFormat::kInt8 ? steps_ : bounds_;
  }
  /// Of the segments within these columns; those of other shares are empty, which adds nothing to a sum.
  [[nodiscard]] const std::array<std::int32_t, kReductionSegments + 1>& Bounds() const { return bounds_; }

 private:
  struct Private {};  // only Create can make one
  void PackPanel(const WeightView& weight, std::int64_t begin, std::int64_t index) const;

 public:
  explicit CpuMatrix(Private) {}

 private:
  Buffer buffer_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;  // of the share
  std::int64_t panel_bytes_ = 0;
  PanelFormat format_ = PanelFormat::kF32;
  std::array<std::int32_t, kReductionSegments + 1> bounds_{};
  std::array<std::int32_t, kReductionSegments + 1> steps_{};  // of kInt8
};

/// Element `index` of `data` as f32.
[[nodiscard]] float LoadElement(const std::byte* data, DType dtype, std::int64_t index);
[[nodiscard]] std::uint16_t RoundToBf16(float value);

}  // namespace baton::kernels::cpu
