#include "kernels/cuda/cuda_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cuda/fp8.h"

namespace baton::kernels::cuda {
namespace {

/// Bytes of rows that are converted before they are copied.
constexpr std::size_t kPieceBytes = 16U << 20;

/// Of a row: what its elements are to be multiplied by afterwards.
float ConvertF32(const WeightView& weight, const ColumnLayout& layout, const std::byte* source,
                 std::byte* target) {
  auto* out = reinterpret_cast<float*>(target);
  for (std::int64_t c = 0; c < layout.columns; ++c)
    out[c] = cpu::LoadElement(source, weight.dtype, layout.first + c);
  return 1;
}

/// `target` is zero where it is padded.
float ConvertBf16(const WeightView& weight, const ColumnLayout& layout, const std::byte* source,
                  std::byte* target) {
  auto* out = reinterpret_cast<std::uint16_t*>(target);
  for (std::size_t segment = 0; segment < static_cast<std::size_t>(layout.segments); ++segment) {
    const std::int64_t first = layout.first + layout.bounds[segment];
    const std::int64_t width = layout.bounds[segment + 1] - layout.bounds[segment];
    std::uint16_t* to = out + std::int64_t{layout.chunk_bounds[segment]} * kChunk;
    if (weight.dtype == DType::kBF16) {
      std::memcpy(to, source + 2 * first, static_cast<std::size_t>(2 * width));
      continue;
    }
    for (std::int64_t c = 0; c < width; ++c) {
      to[c] = cpu::RoundToBf16(cpu::LoadElement(source, weight.dtype, first + c));
    }
  }
  return 1;
}

/// The same.
float ConvertFp8(const WeightView& weight, const ColumnLayout& layout, const std::byte* source,
                 std::byte* target) {
  float greatest = 0;
  for (std::int64_t c = 0; c < layout.columns; ++c)
    greatest = std::max(greatest, std::abs(cpu::LoadElement(source, weight.dtype, layout.first + c)));
  const Fp8Scale scale = ScaleOfRow(greatest);
  for (std::size_t segment = 0; segment < static_cast<std::size_t>(layout.segments); ++segment) {
    const std::int64_t first = layout.first + layout.bounds[segment];
    const std::int64_t width = layout.bounds[segment + 1] - layout.bounds[segment];
    std::byte* to = target + std::int64_t{layout.chunk_bounds[segment]} * kChunk;
    for (std::int64_t c = 0; c < width; ++c) {
      const float element = cpu::LoadElement(source, weight.dtype, first + c);
      to[c] = static_cast<std::byte>(ToFp8(element * scale.inverse));
    }
  }
  return scale.scale;
}

/// body(row) for the rows of a piece, by several threads where there is work for them: a model has billions
/// of elements.
template <typename Body>
void ForRows(std::int64_t rows, std::size_t row_bytes, const Body& body) {
  constexpr std::size_t kShareBytes = 1U << 20;  // that are worth a thread
  const auto shares = static_cast<std::int64_t>(
      std::clamp<std::size_t>(static_cast<std::size_t>(rows) * row_bytes / kShareBytes, 1,
                              std::clamp(std::thread::hardware_concurrency(), 1U, 16U)));
  std::vector<std::jthread> others;
  for (std::int64_t share = 1; share < shares; ++share) {
    others.emplace_back([&, share] {
      for (std::int64_t row = rows * share / shares; row < rows * (share + 1) / shares; ++row) body(row);
    });
  }
  for (std::int64_t row = 0; row < rows / shares; ++row) body(row);
}

/// How a matrix lies on the device.
struct Form {
  std::size_t row_bytes;
  float (*convert)(const WeightView&, const ColumnLayout&, const std::byte*, std::byte*);
};
Form FormOf(const WeightView& weight, const PackOptions& options, const ColumnLayout& layout,
            ComputeClass compute) {
  if (compute == ComputeClass::kF32) return {static_cast<std::size_t>(layout.columns) * 4, ConvertF32};
  const auto padded = static_cast<std::size_t>(layout.PaddedColumns());
  constexpr std::int64_t kFp8Outputs = 16;  // cuBLASLt takes them by so many
  if (compute == ComputeClass::kFp8 && options.may_quantize && weight.rows % kFp8Outputs == 0)
    return {padded, ConvertFp8};
  return {padded * 2, ConvertBf16};
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaMatrix>> CudaMatrix::Create(const WeightView& weight,
                                                               const PackOptions& options,
                                                               ComputeClass compute, Device& device) {
  const ColumnLayout layout = LayOutColumns(weight.columns, options.segments);
  const Form form = FormOf(weight, options, layout, compute);
  const std::size_t row_bytes = form.row_bytes;
  const std::size_t bytes = static_cast<std::size_t>(weight.rows) * row_bytes;
  // A share of a narrow matrix may have no columns: its product is zero, and no kernel reads it.
  auto buffer = device.Allocate(std::max<std::size_t>(bytes, 1));
  if (!buffer.ok()) return buffer.status();
  const auto step =
      static_cast<std::int64_t>(std::max<std::size_t>(1, kPieceBytes / std::max<std::size_t>(1, row_bytes)));
  std::vector<std::byte> piece(std::min(bytes, static_cast<std::size_t>(step) * row_bytes));
  const std::size_t stored = static_cast<std::size_t>(weight.columns) * SizeOf(weight.dtype);
  std::vector<float> row_scales(static_cast<std::size_t>(weight.rows));
  for (std::int64_t first = 0; bytes > 0 && first < weight.rows; first += step) {
    const std::int64_t rows = std::min(step, weight.rows - first);
    ForRows(rows, row_bytes, [&](std::int64_t row) {
      const std::byte* source = weight.data + static_cast<std::size_t>(first + row) * stored;
      row_scales[static_cast<std::size_t>(first + row)] =
          form.convert(weight, layout, source, piece.data() + static_cast<std::size_t>(row) * row_bytes);
    });
    device.Copy(buffer->Region().address + static_cast<std::size_t>(first) * row_bytes, piece.data(),
                static_cast<std::size_t>(rows) * row_bytes);
    BATON_RETURN_IF_ERROR(device.Synchronize());  // the piece is written again
  }
  Buffer scales;
  if (form.convert == ConvertFp8 && bytes > 0) {
    const std::size_t scale_bytes = row_scales.size() * sizeof(float);
    BATON_ASSIGN_OR_RETURN(scales, device.Allocate(scale_bytes));
    device.Copy(scales.Region().address, row_scales.data(), scale_bytes);
  }
  BATON_RETURN_IF_ERROR(device.Synchronize());
  return std::make_unique<CudaMatrix>(*std::move(buffer), std::move(scales), weight.rows, layout);
}

}  // namespace baton::kernels::cuda
