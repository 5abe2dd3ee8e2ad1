#pragma once

#include <cstdint>
#include <vector>

#include "common/base/random.h"
#include "kernels/backend.h"
#include "tests/support/reference.h"

namespace baton::kernels {

/// Activations that own their memory; `stride` may exceed `columns`, the gap holds a canary.
class Tensor {
 public:
  Tensor(std::int64_t rows, std::int64_t columns, std::int64_t gap = 3);
  [[nodiscard]] static Tensor Random(std::int64_t rows, std::int64_t columns, RandomStream& random,
                                     double size = 1);

  [[nodiscard]] Rows View() { return {values_.data(), rows_, columns_, stride_}; }
  [[nodiscard]] Rows View(std::int64_t first, std::int64_t count);
  [[nodiscard]] std::vector<float> Row(std::int64_t row) const;
  [[nodiscard]] float At(std::int64_t row, std::int64_t column) const;
  /// Rows `indices` of this, in that order.
  [[nodiscard]] Tensor Pick(const std::vector<std::int64_t>& indices) const;
  /// As doubles, rounded to bf16 first where `bf16`.
  [[nodiscard]] reference::Matrix ToMatrix(bool bf16 = false) const;
  /// That nothing wrote between the rows.
  [[nodiscard]] bool GapIntact() const;
  [[nodiscard]] std::int64_t RowCount() const { return rows_; }
  [[nodiscard]] std::int64_t Columns() const { return columns_; }

 private:
  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t stride_;
  std::vector<float> values_;
};

/// A stored weight with random elements of a type.
struct StoredWeight {
  std::int64_t rows;
  std::int64_t columns;
  DType dtype;
  std::vector<std::byte> bytes;

  StoredWeight(std::int64_t r, std::int64_t c, DType type, RandomStream& random);
  [[nodiscard]] WeightView View() const { return {bytes.data(), dtype, rows, columns}; }
  /// What is stored, as doubles; rounded to bf16 where `bf16`.
  [[nodiscard]] reference::Matrix ToMatrix(bool bf16 = false) const;
};

/// Bits, so that 0 and -0 differ and a NaN equals itself.
[[nodiscard]] bool SameBits(const std::vector<float>& a, const std::vector<float>& b);

/// KV memory of one layer; whatever is not written yet holds NaNs.
class KvMemory {
 public:
  KvMemory(Backend& backend, int kv_heads, int head_dim, std::int64_t blocks);
  [[nodiscard]] const KvLayer& Layer() const { return layer_; }
  /// A block table for `positions`, of blocks that nobody has, in a shuffled order.
  [[nodiscard]] std::vector<BlockIndex> Table(std::int64_t positions, RandomStream& random);

 private:
  Buffer buffer_;
  KvLayer layer_;
  std::vector<BlockIndex> free_;
};

}  // namespace baton::kernels
