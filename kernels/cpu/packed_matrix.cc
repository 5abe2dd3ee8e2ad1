#include "kernels/cpu/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "common/base/error.h"

namespace baton::kernels::cpu {
namespace {

float WidenF16(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1fU;
  const std::uint32_t fraction = half & 0x3ffU;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000U | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

/// Output `row` of `weight` into column `column` of a bf16 panel.
void PackBf16(const WeightView& weight, std::int64_t row, std::int64_t column, std::uint16_t* panel) {
  const std::byte* source =
      weight.data + row * weight.columns * static_cast<std::int64_t>(SizeOf(weight.dtype));
  for (std::int64_t k = 0; k < weight.columns; ++k) {
    std::uint16_t value = 0;
    if (weight.dtype == DType::kBF16) {
      std::memcpy(&value, source + 2 * k, 2);
    } else {
      value = RoundToBf16(LoadElement(source, weight.dtype, k));
    }
    panel[(k / 2 * kPanelColumns + column) * 2 + k % 2] = value;
  }
}

void PackF32(const WeightView& weight, std::int64_t row, std::int64_t column, float* panel) {
  const std::byte* source =
      weight.data + row * weight.columns * static_cast<std::int64_t>(SizeOf(weight.dtype));
  for (std::int64_t k = 0; k < weight.columns; ++k) {
    panel[k * kPanelColumns + column] = LoadElement(source, weight.dtype, k);
  }
}

}  // namespace

float LoadElement(const std::byte* data, DType dtype, std::int64_t index) {
  if (dtype == DType::kF32) {
    float value = 0;
    std::memcpy(&value, data + 4 * index, 4);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, data + 2 * index, 2);
  return dtype == DType::kBF16 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16)
                               : WidenF16(bits);
}

std::uint16_t RoundToBf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

std::array<std::int32_t, kReductionSegments + 1> SegmentBounds(std::int64_t k) {
  const std::int64_t half = (k + 1) / 2;
  std::array<std::int32_t, kReductionSegments + 1> bounds{};
  for (int i = 0; i <= kReductionSegments; ++i) {
    bounds[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(2 * (half * i / kReductionSegments));
  }
  return bounds;
}

absl::StatusOr<std::unique_ptr<CpuMatrix>> CpuMatrix::Create(const WeightView& weight, ComputeClass compute,
                                                             Backend& backend, ThreadPool& pool) {
  if (weight.rows <= 0 || weight.columns <= 0 || weight.data == nullptr) {
    return Error(kInvalidArgument, "a weight matrix of {} x {} cannot be packed", weight.rows,
                 weight.columns);
  }
  auto matrix = std::make_unique<CpuMatrix>(Private{});
  matrix->rows_ = weight.rows;
  matrix->columns_ = weight.columns;
  matrix->bounds_ = SegmentBounds(weight.columns);
  const bool bf16 = compute == ComputeClass::kBF16 || weight.dtype == DType::kBF16;
  matrix->format_ = bf16 ? PanelFormat::kBF16 : PanelFormat::kF32;
  const std::int64_t padded_k = (weight.columns + 1) / 2 * 2;
  matrix->panel_bytes_ = padded_k * kPanelColumns * (bf16 ? 2 : 4);
  BATON_ASSIGN_OR_RETURN(matrix->buffer_,
                         backend.Allocate(static_cast<std::size_t>(matrix->panel_bytes_ * matrix->Panels())));
  std::byte* base = matrix->buffer_.As<std::byte>();
  pool.ParallelFor(matrix->Panels(), [&](std::int64_t index, int) {
    std::byte* panel = base + index * matrix->panel_bytes_;
    const std::int64_t end = std::min<std::int64_t>(weight.rows, (index + 1) * kPanelColumns);
    for (std::int64_t row = index * kPanelColumns; row < end; ++row) {
      const std::int64_t column = row - index * kPanelColumns;
      if (bf16) {
        PackBf16(weight, row, column, reinterpret_cast<std::uint16_t*>(panel));
      } else {
        PackF32(weight, row, column, reinterpret_cast<float*>(panel));
      }
    }
  });
  return matrix;
}

}  // namespace baton::kernels::cpu
