#pragma once

// Part of inner_kernels_inl.h: what works on one row at a time, and the vector exponential.
inline unsigned short RoundToBf16(float value) {
  unsigned bits = 0;
  __builtin_memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffU) > 0x7f800000U)
    return static_cast<unsigned short>((bits >> 16) | 0x40U);  // stays a NaN
  return static_cast<unsigned short>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

void ToBf16(const float* in, std::int64_t n, std::uint16_t* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = RoundToBf16(in[i]);
}

void PackRowsF32(const float* in, std::int64_t stride, int rows, std::int64_t k, float* out) {
  const std::int64_t padded = k + (k & 1);
  for (int r = 0; r < kTileRows; ++r) {
    for (std::int64_t i = 0; i < padded; ++i) {
      out[i * kTileRows + r] = r < rows && i < k ? in[r * stride + i] : 0.0F;
    }
  }
}

/// Of [k/2][12][2] bf16.
std::int64_t Bf16BlockBytes(const std::int32_t* bounds) {
  return std::int64_t{bounds[8]} * kTileRows * 2;
}

/// Rows in chunks of 64: rounded side by side first, which the compiler does in vectors, then spread.
void PackRowsBf16(const PackRowsTask& task) {
  constexpr int kChunk = 64;
  const std::int64_t k = task.columns;
  const std::int64_t padded = k + (k & 1);
  auto* dwords = static_cast<unsigned*>(task.out);
  for (int r = 0; r < kTileRows; ++r) {
    for (std::int64_t first = 0; first < padded; first += kChunk) {
      const std::int64_t left = padded - first < kChunk ? padded - first : kChunk;
      alignas(64) std::uint16_t rounded[kChunk] = {};
      if (r < task.rows) {
        const float* in = task.in + r * task.stride + first;
        if (k - first >= kChunk) {
          ToBf16(in, kChunk, rounded);
        } else {
          ToBf16(in, k - first, rounded);
        }
      }
      unsigned* target = dwords + first / 2 * kTileRows + r;
      for (std::int64_t i = 0; i < left / 2; ++i)
        __builtin_memcpy(target + i * kTileRows, rounded + 2 * i, 4);
    }
  }
}

/// Sum of the lanes in a fixed order.
inline float SumLanes(const Vec& v) {
  float lane[16];
  v.Store(lane);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = lane[i] + lane[i + width];
  }
  return lane[0];
}

void RmsNorm(const float* in, const float* weight, float epsilon, std::int64_t n, float* out) {
  Vec squares = Vec::Zero();
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const Vec x = Vec::Load(in + i);
    squares = Vec::Fma(x, x, squares);
  }
  float sum = SumLanes(squares);
  for (std::int64_t j = i; j < n; ++j) sum = sum + in[j] * in[j];
  const float scale = 1.0F / __builtin_sqrtf(sum / static_cast<float>(n) + epsilon);
  for (std::int64_t j = 0; j < n; ++j) out[j] = in[j] * scale * weight[j];
}

/// e^x by 2^n * e^r, |r| <= ln(2)/2, a polynomial of degree 6 (relative error below 3e-7). Below -87 the
/// result is 0.
inline Vec Exp(const Vec& x) {
  const Vec clamped = Vec::Max(Vec::Min(x, Vec::Broadcast(88.0F)), Vec::Broadcast(-87.0F));
  const Vec n = Vec::Round(clamped * Vec::Broadcast(1.44269504088896341F));
  Vec r = Vec::Fma(n, Vec::Broadcast(-0.693359375F), clamped);
  r = Vec::Fma(n, Vec::Broadcast(2.12194440e-4F), r);
  Vec p = Vec::Broadcast(1.9875691500e-4F);
  p = Vec::Fma(p, r, Vec::Broadcast(1.3981999507e-3F));
  p = Vec::Fma(p, r, Vec::Broadcast(8.3334519073e-3F));
  p = Vec::Fma(p, r, Vec::Broadcast(4.1665795894e-2F));
  p = Vec::Fma(p, r, Vec::Broadcast(1.6666665459e-1F));
  p = Vec::Fma(p, r, Vec::Broadcast(5.0000001201e-1F));
  p = Vec::Fma(p * r, r, r + Vec::Broadcast(1.0F));
  return Vec::ZeroWhereBelow(Vec::Scale2(p, n), x, -87.0F);
}

inline Vec SwiGluOf(const Vec& gate, const Vec& up) {
  return gate / (Vec::Broadcast(1.0F) + Exp(Vec::Zero() - gate)) * up;
}

void SwiGlu(const float* gate, const float* up, std::int64_t n, float* out) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) SwiGluOf(Vec::Load(gate + i), Vec::Load(up + i)).Store(out + i);
  if (i == n) return;
  float g[16] = {};
  float u[16] = {};
  for (std::int64_t j = i; j < n; ++j) {
    g[j - i] = gate[j];
    u[j - i] = up[j];
  }
  SwiGluOf(Vec::Load(g), Vec::Load(u)).Store(g);
  for (std::int64_t j = i; j < n; ++j) out[j] = g[j - i];
}
