#pragma once

#include <cstdint>
#include <span>
#include <vector>

/// Every operation of `kernels/backend.h` as plain loops in double: what each backend is compared with. Slow
/// on purpose.
namespace baton::reference {

/// Row-major numbers.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(std::int64_t r, std::int64_t c) : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
  [[nodiscard]] double& At(std::int64_t row, std::int64_t column) {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
  [[nodiscard]] double At(std::int64_t row, std::int64_t column) const {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
};

/// The nearest bf16, ties to even.
[[nodiscard]] float RoundToBf16(float value);
/// The value of a stored f16.
[[nodiscard]] float FromF16(std::uint16_t bits);
/// The nearest f16, ties to even; `value` must be within its normal range or 0.
[[nodiscard]] std::uint16_t ToF16(float value);

/// out[t][n] = sum_k in[t][k] * weight[n][k].
[[nodiscard]] Matrix MatMul(const Matrix& weight, const Matrix& in);
/// out[t][n] = sum_k |in[t][k] * weight[n][k]|: what the error of a MatMul is measured against.
[[nodiscard]] Matrix MatMulMagnitude(const Matrix& weight, const Matrix& in);
[[nodiscard]] Matrix RmsNorm(const Matrix& in, std::span<const float> weight, double epsilon);
[[nodiscard]] Matrix SwiGlu(const Matrix& gate_up);
void Rope(Matrix& x, int head_dim, std::span<const std::int32_t> positions,
          std::span<const double> inverse_frequencies);

/// Shares of a mixture's experts, [token][experts], 0 for those that are not among the `chosen` of the
/// greatest logits: a softmax over all, over the chosen ones' sum where `normalize`.
[[nodiscard]] Matrix ExpertShares(const Matrix& logits, int chosen, bool normalize);

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  double scale = 0;
  int window = 0;                   // 0 = all
  std::int64_t first_position = 0;  // of q's first row
};
/// q [tokens][heads * dim] over k and v [positions][kv_heads * dim] of the whole sequence.
[[nodiscard]] Matrix Attention(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                               const Matrix& v);

}  // namespace baton::reference
