#include "kernels/cuda/cuda_matrix.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/base/error.h"
#include "kernels/cpu/packed_matrix.h"

namespace baton::kernels::cuda {
namespace {

/// Bytes of rows that are converted before they are copied.
constexpr std::size_t kPieceBytes = 16U << 20;

void ConvertF32(const WeightView& weight, const ColumnLayout& layout, const std::byte* source,
                std::byte* target) {
  auto* out = reinterpret_cast<float*>(target);
  for (std::int64_t c = 0; c < layout.columns; ++c)
    out[c] = cpu::LoadElement(source, weight.dtype, layout.first + c);
}

/// `target` is zero where it is padded.
void ConvertBf16(const WeightView& weight, const ColumnLayout& layout, const std::byte* source,
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
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaMatrix>> CudaMatrix::Create(const WeightView& weight,
                                                               const PackOptions& options,
                                                               ComputeClass compute, Device& device) {
  const ColumnLayout layout = LayOutColumns(weight.columns, options.segments);
  const bool f32 = compute == ComputeClass::kF32;
  const std::size_t row_bytes = f32 ? static_cast<std::size_t>(layout.columns) * 4
                                    : static_cast<std::size_t>(layout.PaddedColumns()) * 2;
  const std::size_t bytes = static_cast<std::size_t>(weight.rows) * row_bytes;
  // A share of a narrow matrix may have no columns: its product is zero, and no kernel reads it.
  auto buffer = device.Allocate(std::max<std::size_t>(bytes, 1));
  if (!buffer.ok()) return buffer.status();
  const auto step =
      static_cast<std::int64_t>(std::max<std::size_t>(1, kPieceBytes / std::max<std::size_t>(1, row_bytes)));
  std::vector<std::byte> piece(std::min(bytes, static_cast<std::size_t>(step) * row_bytes));
  const std::size_t stored = static_cast<std::size_t>(weight.columns) * SizeOf(weight.dtype);
  for (std::int64_t first = 0; bytes > 0 && first < weight.rows; first += step) {
    const std::int64_t rows = std::min(step, weight.rows - first);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::byte* source = weight.data + static_cast<std::size_t>(first + row) * stored;
      (f32 ? ConvertF32 : ConvertBf16)(weight, layout, source,
                                       piece.data() + static_cast<std::size_t>(row) * row_bytes);
    }
    device.Copy(buffer->Region().address + static_cast<std::size_t>(first) * row_bytes, piece.data(),
                static_cast<std::size_t>(rows) * row_bytes);
  }
  BATON_RETURN_IF_ERROR(device.Synchronize());
  return std::make_unique<CudaMatrix>(*std::move(buffer), weight.rows, layout);
}

}  // namespace baton::kernels::cuda
