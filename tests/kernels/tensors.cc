#include "tests/kernels/tensors.h"

#include <bit>
#include <cstring>
#include <utility>

#include "common/base/check.h"

namespace baton::kernels {
namespace {

constexpr float kCanary = 12345.678F;

}  // namespace

Tensor::Tensor(std::int64_t rows, std::int64_t columns, std::int64_t gap)
    : rows_(rows),
      columns_(columns),
      stride_(columns + gap),
      values_(static_cast<std::size_t>(rows * (columns + gap)), kCanary) {}

Tensor Tensor::Random(std::int64_t rows, std::int64_t columns, RandomStream& random, double size) {
  Tensor tensor(rows, columns);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      tensor.values_[static_cast<std::size_t>(r * tensor.stride_ + c)] =
          static_cast<float>((2 * random.Uniform() - 1) * size);
    }
  }
  return tensor;
}

Rows Tensor::View(std::int64_t first, std::int64_t count) {
  return {values_.data() + first * stride_, count, columns_, stride_};
}

std::vector<float> Tensor::Row(std::int64_t row) const {
  const auto begin = values_.begin() + row * stride_;
  return {begin, begin + columns_};
}

float Tensor::At(std::int64_t row, std::int64_t column) const {
  return values_[static_cast<std::size_t>(row * stride_ + column)];
}

Tensor Tensor::Pick(const std::vector<std::int64_t>& indices) const {
  Tensor picked(static_cast<std::int64_t>(indices.size()), columns_);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::vector<float> row = Row(indices[i]);
    std::copy(row.begin(), row.end(), picked.values_.begin() + static_cast<std::int64_t>(i) * picked.stride_);
  }
  return picked;
}

reference::Matrix Tensor::ToMatrix(bool bf16) const {
  reference::Matrix matrix(rows_, columns_);
  for (std::int64_t r = 0; r < rows_; ++r) {
    for (std::int64_t c = 0; c < columns_; ++c) {
      matrix.At(r, c) = static_cast<double>(bf16 ? reference::RoundToBf16(At(r, c)) : At(r, c));
    }
  }
  return matrix;
}

bool Tensor::GapIntact() const {
  for (std::int64_t r = 0; r < rows_; ++r) {
    for (std::int64_t c = columns_; c < stride_; ++c) {
      if (At(r, c) != kCanary) return false;
    }
  }
  return true;
}

StoredWeight::StoredWeight(std::int64_t r, std::int64_t c, DType type, RandomStream& random)
    : rows(r), columns(c), dtype(type), bytes(static_cast<std::size_t>(r * c) * SizeOf(type)) {
  for (std::int64_t i = 0; i < r * c; ++i) {
    const auto value = static_cast<float>(2 * random.Uniform() - 1);
    std::uint16_t half = type == DType::kF16
                             ? reference::ToF16(value)
                             : static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
    std::byte* target = bytes.data() + static_cast<std::size_t>(i) * SizeOf(type);
    if (type == DType::kF32) {
      std::memcpy(target, &value, 4);
    } else {
      std::memcpy(target, &half, 2);
    }
  }
}

reference::Matrix StoredWeight::ToMatrix(bool bf16) const {
  reference::Matrix matrix(rows, columns);
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    const std::byte* source = bytes.data() + static_cast<std::size_t>(i) * SizeOf(dtype);
    float value = 0;
    std::uint16_t half = 0;
    if (dtype == DType::kF32) {
      std::memcpy(&value, source, 4);
    } else {
      std::memcpy(&half, source, 2);
      value =
          dtype == DType::kF16 ? reference::FromF16(half) : std::bit_cast<float>(std::uint32_t{half} << 16);
    }
    matrix.values[static_cast<std::size_t>(i)] =
        static_cast<double>(bf16 ? reference::RoundToBf16(value) : value);
  }
  return matrix;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

KvMemory::KvMemory(Backend& backend, int kv_heads, int head_dim, std::int64_t blocks) {
  layer_ = {.dtype = backend.KvType(), .kv_heads = kv_heads, .head_dim = head_dim};
  const std::size_t bytes = layer_.BlockBytes() * static_cast<std::size_t>(blocks);
  absl::StatusOr<Buffer> buffer = backend.Allocate(bytes);
  BATON_CHECK(buffer.ok());
  buffer_ = *std::move(buffer);
  layer_.base = buffer_.As<std::byte>();
  std::memset(layer_.base, 0xff, bytes);  // NaN in f32 and bf16
  for (std::int64_t i = 0; i < blocks; ++i) free_.emplace_back(static_cast<std::uint32_t>(i));
}

std::vector<BlockIndex> KvMemory::Table(std::int64_t positions, RandomStream& random) {
  std::vector<BlockIndex> table;
  for (std::int64_t i = 0; i < (positions + 15) / 16; ++i) {
    BATON_CHECK(!free_.empty());
    const auto last = static_cast<std::int64_t>(free_.size()) - 1;
    std::swap(free_[static_cast<std::size_t>(random.Between(0, last))], free_.back());
    table.push_back(free_.back());
    free_.pop_back();
  }
  return table;
}

}  // namespace baton::kernels
