#include "tests/support/reference.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace baton::reference {

float RoundToBf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t below = bits & 0xffffU;
  std::uint32_t kept = bits >> 16;
  if (below > 0x8000U || (below == 0x8000U && (kept & 1U) != 0)) ++kept;
  return std::bit_cast<float>(kept << 16);
}

float FromF16(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f;
  const int fraction = bits & 0x3ff;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>((bits & 0x8000U) != 0 ? -magnitude : magnitude);
}

std::uint16_t ToF16(float value) {
  if (value == 0) return 0;
  int exponent = 0;
  std::frexp(std::abs(value), &exponent);  // |value| = f * 2^exponent, f in [0.5, 1)
  const double unit = std::ldexp(1.0, std::max(exponent - 11, -24));
  const auto steps = static_cast<int>(std::nearbyint(std::abs(value) / unit));
  const int biased = std::max(exponent + 14, 0);
  const int bits =
      biased == 0 ? steps : (biased << 10) + steps - 1024;  // a carry enters the exponent by itself
  return static_cast<std::uint16_t>(bits | (value < 0 ? 0x8000 : 0));
}

Matrix MatMul(const Matrix& weight, const Matrix& in) {
  Matrix out(in.rows, weight.rows);
  for (std::int64_t t = 0; t < in.rows; ++t) {
    for (std::int64_t n = 0; n < weight.rows; ++n) {
      for (std::int64_t k = 0; k < in.columns; ++k) out.At(t, n) += in.At(t, k) * weight.At(n, k);
    }
  }
  return out;
}

Matrix MatMulMagnitude(const Matrix& weight, const Matrix& in) {
  Matrix w = weight;
  Matrix x = in;
  for (double& value : w.values) value = std::abs(value);
  for (double& value : x.values) value = std::abs(value);
  return MatMul(w, x);
}

Matrix RmsNorm(const Matrix& in, std::span<const float> weight, double epsilon) {
  Matrix out(in.rows, in.columns);
  for (std::int64_t t = 0; t < in.rows; ++t) {
    double squares = 0;
    for (std::int64_t i = 0; i < in.columns; ++i) squares += in.At(t, i) * in.At(t, i);
    const double root = std::sqrt(squares / static_cast<double>(in.columns) + epsilon);
    for (std::int64_t i = 0; i < in.columns; ++i) {
      out.At(t, i) = in.At(t, i) / root * static_cast<double>(weight[static_cast<std::size_t>(i)]);
    }
  }
  return out;
}

Matrix SwiGlu(const Matrix& gate_up) {
  Matrix out(gate_up.rows, gate_up.columns / 2);
  for (std::int64_t t = 0; t < out.rows; ++t) {
    for (std::int64_t i = 0; i < out.columns; ++i) {
      const double gate = gate_up.At(t, i);
      out.At(t, i) = gate / (1 + std::exp(-gate)) * gate_up.At(t, out.columns + i);
    }
  }
  return out;
}

void Rope(Matrix& x, int head_dim, std::span<const std::int32_t> positions,
          std::span<const double> inverse_frequencies) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t t = 0; t < x.rows; ++t) {
    for (std::int64_t c = 0; c < x.columns; ++c) {
      if (c % head_dim >= half) continue;
      const double angle = positions[static_cast<std::size_t>(t)] *
                           inverse_frequencies[static_cast<std::size_t>(c % head_dim)];
      const double low = x.At(t, c);
      const double high = x.At(t, c + half);
      x.At(t, c) = low * std::cos(angle) - high * std::sin(angle);
      x.At(t, c + half) = high * std::cos(angle) + low * std::sin(angle);
    }
  }
}

Matrix ExpertShares(const Matrix& logits, int chosen, bool normalize) {
  Matrix out(logits.rows, logits.columns);
  for (std::int64_t t = 0; t < logits.rows; ++t) {
    double total = 0;
    for (std::int64_t e = 0; e < logits.columns; ++e) total += std::exp(logits.At(t, e));
    double kept = 0;
    for (std::int64_t e = 0; e < logits.columns; ++e) {
      int better = 0;
      for (std::int64_t other = 0; other < logits.columns; ++other) {
        better +=
            logits.At(t, other) > logits.At(t, e) || (logits.At(t, other) == logits.At(t, e) && other < e);
      }
      if (better >= chosen) continue;
      out.At(t, e) = std::exp(logits.At(t, e)) / total;
      kept += out.At(t, e);
    }
    for (std::int64_t e = 0; normalize && e < logits.columns; ++e) out.At(t, e) /= kept;
  }
  return out;
}

Matrix Attention(const AttentionShape& shape, const Matrix& q, const Matrix& k, const Matrix& v) {
  Matrix out(q.rows, q.columns);
  const int group = shape.heads / shape.kv_heads;
  for (std::int64_t t = 0; t < q.rows; ++t) {
    const std::int64_t last = shape.first_position + t;
    const std::int64_t first = shape.window > 0 ? std::max<std::int64_t>(0, last - shape.window + 1) : 0;
    for (int head = 0; head < shape.heads; ++head) {
      const std::int64_t q_at = std::int64_t{head} * shape.head_dim;
      const std::int64_t kv_at = std::int64_t{head / group} * shape.head_dim;
      std::vector<double> weights;
      for (std::int64_t p = first; p <= last; ++p) {
        double score = 0;
        for (int d = 0; d < shape.head_dim; ++d) score += q.At(t, q_at + d) * k.At(p, kv_at + d);
        weights.push_back(score * shape.scale);
      }
      const double top = *std::ranges::max_element(weights);
      double total = 0;
      for (double& weight : weights) total += weight = std::exp(weight - top);
      for (std::int64_t p = first; p <= last; ++p) {
        const double weight = weights[static_cast<std::size_t>(p - first)] / total;
        for (int d = 0; d < shape.head_dim; ++d) out.At(t, q_at + d) += weight * v.At(p, kv_at + d);
      }
    }
  }
  return out;
}

}  // namespace baton::reference
