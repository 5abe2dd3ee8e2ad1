#include "kernels/cpu/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "common/base/check.h"
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

/// Columns [begin, end) of a stored matrix.
struct ColumnRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Output `row` of `weight` into column `column` of a bf16 panel.
void PackBf16(const WeightView& weight, ColumnRange range, std::int64_t row, std::int64_t column,
              std::uint16_t* panel) {
  const std::byte* source =
      weight.data + row * weight.columns * static_cast<std::int64_t>(SizeOf(weight.dtype));
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    std::uint16_t value = 0;
    if (weight.dtype == DType::kBF16) {
      std::memcpy(&value, source + 2 * i, 2);
    } else {
      value = RoundToBf16(LoadElement(source, weight.dtype, i));
    }
    const std::int64_t k = i - range.begin;
    panel[(k / 2 * kPanelColumns + column) * 2 + k % 2] = value;
  }
}

void PackF32(const WeightView& weight, ColumnRange range, std::int64_t row, std::int64_t column,
             float* panel) {
  const std::byte* source =
      weight.data + row * weight.columns * static_cast<std::int64_t>(SizeOf(weight.dtype));
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    panel[(i - range.begin) * kPanelColumns + column] = LoadElement(source, weight.dtype, i);
  }
}

/// The same into an int8 panel: a symmetric scale for each segment of the row. One that is not finite becomes
/// NaN as a whole.
void PackInt8(const WeightView& weight, ColumnRange range, std::int64_t row, std::int64_t column,
              std::span<const std::int32_t> bounds, std::span<const std::int32_t> steps, std::byte* panel) {
  const std::byte* source =
      weight.data + row * weight.columns * static_cast<std::int64_t>(SizeOf(weight.dtype));
  auto* bytes = reinterpret_cast<std::uint8_t*>(panel);
  auto* scales = reinterpret_cast<float*>(panel + std::int64_t{steps.back()} * kPanelColumns * 4);
  for (std::size_t segment = 0; segment < kReductionSegments; ++segment) {
    const std::int64_t first = range.begin + bounds[segment];
    const std::int64_t last = std::min<std::int64_t>(range.end, range.begin + bounds[segment + 1]);
    float highest = 0;
    bool finite = true;
    for (std::int64_t i = first; i < last; ++i) {
      const float value = LoadElement(source, weight.dtype, i);
      finite = finite && std::isfinite(value);
      highest = std::max(highest, std::abs(value));
    }
    const bool usable = finite && highest >= 1e-31F;
    const float inverse = usable ? 127.0F / highest : 0;
    scales[static_cast<std::int64_t>(segment) * kPanelColumns + column] =
        usable ? highest / 127.0F : (finite ? 0 : std::numeric_limits<float>::quiet_NaN());
    for (std::int64_t i = first; usable && i < last; ++i) {
      const std::int64_t step = steps[segment] + (i - first) / 4;
      const auto rounded = std::lrint(LoadElement(source, weight.dtype, i) * inverse);
      bytes[(step * kPanelColumns + column) * 4 + (i - first) % 4] = static_cast<std::uint8_t>(rounded + 128);
    }
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

absl::StatusOr<std::unique_ptr<CpuMatrix>> CpuMatrix::Create(const WeightView& weight,
                                                             const PackOptions& options, ComputeClass compute,
                                                             Backend& backend, ThreadPool& pool) {
  if (weight.rows <= 0 || weight.columns <= 0 || weight.data == nullptr) {
    return Error(kInvalidArgument, "a weight matrix of {} x {} cannot be packed", weight.rows,
                 weight.columns);
  }
  const SegmentRange segments = options.segments;
  if (compute == ComputeClass::kInt8 && !options.may_quantize) compute = ComputeClass::kBF16;
  BATON_CHECK(segments.first >= 0 && segments.count > 0 &&
                  std::has_single_bit(static_cast<unsigned>(segments.count)) &&
                  segments.first % segments.count == 0 &&
                  segments.first + segments.count <= kReductionSegments,
              "segments {} + {}", segments.first, segments.count);
  auto matrix = std::make_unique<CpuMatrix>(Private{});
  matrix->rows_ = weight.rows;
  matrix->bounds_ = SegmentBounds(weight.columns);
  const auto first = static_cast<std::size_t>(segments.first);
  const std::int32_t begin = matrix->bounds_[first];
  const std::int32_t end = matrix->bounds_[first + static_cast<std::size_t>(segments.count)];
  for (std::int32_t& bound : matrix->bounds_) bound = std::clamp(bound, begin, end) - begin;
  const ColumnRange range{.begin = begin, .end = std::min<std::int64_t>(end, weight.columns)};
  matrix->columns_ = range.end - range.begin;
  if (matrix->columns_ <= 0) {
    return Error(kInvalidArgument, "{} columns cannot be shared out: segments {} to {} have none",
                 weight.columns, segments.first, segments.first + segments.count);
  }
  const bool bf16 = compute == ComputeClass::kBF16 || weight.dtype == DType::kBF16;
  matrix->format_ = compute == ComputeClass::kInt8 ? PanelFormat::kInt8
                    : bf16                         ? PanelFormat::kBF16
                                                   : PanelFormat::kF32;
  for (std::size_t i = 0; i < kReductionSegments; ++i)
    matrix->steps_[i + 1] = matrix->steps_[i] + (matrix->bounds_[i + 1] - matrix->bounds_[i] + 3) / 4;
  const std::int64_t padded_k = (matrix->columns_ + 1) / 2 * 2;
  matrix->panel_bytes_ = matrix->format_ == PanelFormat::kInt8
                             ? (matrix->steps_.back() + kReductionSegments) * std::int64_t{kPanelColumns} * 4
                             : padded_k * kPanelColumns * (bf16 ? 2 : 4);
  BATON_ASSIGN_OR_RETURN(
      matrix->buffer_,
      backend.Allocate(static_cast<std::size_t>(matrix->panel_bytes_ * matrix->Panels()) + kReadPastPanels));
  pool.ParallelFor(matrix->Panels(),
                   [&](std::int64_t index, int) { matrix->PackPanel(weight, range.begin, index); });
  return matrix;
}

void CpuMatrix::PackPanel(const WeightView& weight, std::int64_t begin, std::int64_t index) const {
  const ColumnRange range{.begin = begin, .end = begin + columns_};
  std::byte* panel = buffer_.As<std::byte>() + index * panel_bytes_;
  const std::int64_t last = std::min<std::int64_t>(weight.rows, (index + 1) * kPanelColumns);
  if (format_ == PanelFormat::kInt8)
    std::memset(panel, 128, static_cast<std::size_t>(steps_.back()) * kPanelColumns * 4);
  for (std::int64_t row = index * kPanelColumns; row < last; ++row) {
    const std::int64_t column = row - index * kPanelColumns;
    switch (format_) {
      case PanelFormat::kF32:
        PackF32(weight, range, row, column, reinterpret_cast<float*>(panel));
        break;
      case PanelFormat::kBF16:
        PackBf16(weight, range, row, column, reinterpret_cast<std::uint16_t*>(panel));
        break;
      case PanelFormat::kInt8:
        PackInt8(weight, range, row, column, bounds_, steps_, panel);
        break;
    }
  }
}

}  // namespace baton::kernels::cpu
