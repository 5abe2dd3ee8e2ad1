#include "kernels/backend.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/check.h"

namespace baton::kernels {

std::size_t SizeOf(DType dtype) {
  return dtype == DType::kF32 ? 4 : 2;
}

std::string_view Name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
  }
  return "?";
}

std::string_view Name(ComputeClass compute) {
  switch (compute) {
    case ComputeClass::kF32:
      return "f32";
    case ComputeClass::kBF16:
      return "bf16";
    case ComputeClass::kInt8:
      return "int8";
    case ComputeClass::kFp8:
      return "fp8";
  }
  return "?";
}

std::array<std::int32_t, kReductionSegments + 1> SegmentBounds(std::int64_t k) {
  const std::int64_t half = (k + 1) / 2;
  std::array<std::int32_t, kReductionSegments + 1> bounds{};
  for (int i = 0; i <= kReductionSegments; ++i) {
    bounds[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(2 * (half * i / kReductionSegments));
  }
  return bounds;
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  if (release_ != nullptr) release_(region_);
  region_ = std::exchange(other.region_, {});
  release_ = std::exchange(other.release_, nullptr);
  return *this;
}

Buffer::~Buffer() {
  if (release_ != nullptr) release_(region_);
}

void Backend::RopeAndWriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices,
                             std::span<const std::int32_t> positions,
                             std::span<const double> inverse_frequencies, Rows qkv) {
  const std::int64_t width = std::int64_t{layer.kv_heads} * layer.head_dim;
  const auto columns = [&](std::int64_t first, std::int64_t count) {
    return Rows{.data = qkv.data + first, .rows = qkv.rows, .columns = count, .stride = qkv.stride};
  };
  Rope(columns(0, qkv.columns - width), layer.head_dim, positions, inverse_frequencies);
  WriteKv(layer, slices, columns(qkv.columns - 2 * width, width), columns(qkv.columns - width, width));
}

void Backend::Draw(Rows, std::span<const RowDraw>, std::span<DrawnRow> drawn) {
  std::ranges::fill(drawn, DrawnRow{});
}

void Backend::Highest(Rows in, std::int64_t count, std::span<std::int32_t> columns, std::span<float> values) {
  BATON_CHECK(count > 0 && count <= in.columns && std::ssize(columns) == in.rows * count &&
              values.size() == columns.size());
  const Rows host = ToHost(in);
  std::vector<std::int32_t> order(static_cast<std::size_t>(in.columns));
  for (std::int64_t r = 0; r < in.rows; ++r) {
    const float* row = host.data + r * host.stride;
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](std::int32_t a, std::int32_t b) {
      return row[a] != row[b] ? row[a] > row[b] : a < b;
    });
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(r * count + i);
      columns[at] = order[static_cast<std::size_t>(i)];
      values[at] = row[columns[at]];
    }
  }
}

void Backend::AddRmsNorm(Rows x, Rows y, std::span<const float> weight, float epsilon, Rows out) {
  Add(x, y);
  RmsNorm(x, weight, epsilon, out);
}

}  // namespace baton::kernels
