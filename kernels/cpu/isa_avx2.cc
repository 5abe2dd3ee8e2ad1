// AVX2 with FMA: a vector of 16 floats is two registers.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/cpu/inner_kernels.h"

namespace baton::kernels::cpu {
namespace {

struct Vec {
  __m256 a;
  __m256 b;
  struct Pair;
  static inline Vec Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static inline Vec Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static inline Vec Broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  inline void Store(float* p) const {
    _mm256_storeu_ps(p, a);
    _mm256_storeu_ps(p + 8, b);
  }
  static inline Vec Max(Vec x, Vec y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static inline Vec Min(Vec x, Vec y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
  static inline Vec Fma(Vec x, Vec y, Vec z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static inline Vec Round(Vec x) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, kNearest), _mm256_round_ps(x.b, kNearest)};
  }
  static inline __m256 Power2(__m256 n) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }
  static inline Vec Scale2(Vec x, Vec n) {
    return {_mm256_mul_ps(x.a, Power2(n.a)), _mm256_mul_ps(x.b, Power2(n.b))};
  }
  static inline Vec ZeroWhereBelow(Vec value, Vec x, float bound) {
    const __m256 limit = _mm256_set1_ps(bound);
    return {_mm256_and_ps(value.a, _mm256_cmp_ps(x.a, limit, _CMP_GE_OQ)),
            _mm256_and_ps(value.b, _mm256_cmp_ps(x.b, limit, _CMP_GE_OQ))};
  }
  static inline Pair LoadPairs(const unsigned* p);
};
struct Vec::Pair {
  Vec even;
  Vec odd;
};
inline __m256 Even(__m256i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}
inline __m256 Odd(__m256i bits) {
  return _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0xffff0000U))));
}
inline Vec::Pair Vec::LoadPairs(const unsigned* p) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8));
  return {{Even(low), Even(high)}, {Odd(low), Odd(high)}};
}
inline Vec operator+(Vec x, Vec y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
inline Vec operator-(Vec x, Vec y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
inline Vec operator*(Vec x, Vec y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
inline Vec operator/(Vec x, Vec y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

inline Vec LoadF32(const float* p, int left) {
  if (left >= 16) return Vec::Load(p);
  float padded[16] = {};
  for (int i = 0; i < left; ++i) padded[i] = p[i];
  return Vec::Load(padded);
}
inline Vec LoadBf16(const unsigned short* p, int left) {
  unsigned short padded[16] = {};
  if (left < 16) {
    for (int i = 0; i < left; ++i) padded[i] = p[i];
    p = padded;
  }
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {Even(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(bits))),
          Even(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(bits, 1)))};
}

/// Eight rows of eight dwords become eight columns.
inline void Transpose8(const __m256 (&in)[8], unsigned* out, long out_stride) {
  __m256 a[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(in[i], in[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(in[i], in[i + 1]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m256 low = c % 2 == 0 ? _mm256_shuffle_ps(a[c / 2], a[2 + c / 2], 0x44)
                                  : _mm256_shuffle_ps(a[c / 2], a[2 + c / 2], 0xee);
    const __m256 high = c % 2 == 0 ? _mm256_shuffle_ps(a[4 + c / 2], a[6 + c / 2], 0x44)
                                   : _mm256_shuffle_ps(a[4 + c / 2], a[6 + c / 2], 0xee);
    _mm256_storeu_ps(reinterpret_cast<float*>(out + c * out_stride), _mm256_permute2f128_ps(low, high, 0x20));
    _mm256_storeu_ps(reinterpret_cast<float*>(out + (4 + c) * out_stride),
                     _mm256_permute2f128_ps(low, high, 0x31));
  }
}
/// 16 rows of up to 16 dwords become 16 columns: dword j of row i goes to out[j * out_stride + i].
inline void Transpose16(const unsigned* in, long stride, int left, unsigned* out, long out_stride) {
  for (int first = 0; first < left && first < 16; first += 8) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left - first), lane);
    for (int row = 0; row < 16; row += 8) {
      __m256 rows[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        rows[i] = _mm256_maskload_ps(reinterpret_cast<const float*>(in + (row + i) * stride + first), mask);
      }
      Transpose8(rows, out + first * out_stride + row, out_stride);
    }
  }
}

#include "kernels/cpu/isa_common_inl.h"

using DotPairs = WideningDotPairs;
/// Magnitudes of the weights times activations that carry their signs; two such products of at most 127 * 127
/// fit 16 bits.
struct DotBytes {
  struct Sum {
    __m256i a;
    __m256i b;
  };
  using Weights = Sum;
  static inline Sum Start(int) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static inline __m256i LoadHalf(const unsigned* p) {
    return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                            _mm256_set1_epi8(static_cast<char>(0x80)));
  }
  static inline Weights Load(const unsigned* p) { return {LoadHalf(p), LoadHalf(p + 8)}; }
  static inline __attribute__((always_inline)) __m256i Half(__m256i sum, __m256i w, __m256i x) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static inline __attribute__((always_inline)) Sum Accumulate(const Sum& sum, const Weights& w, unsigned a) {
    const __m256i x = _mm256_set1_epi32(static_cast<int>(a));
    return {Half(sum.a, w.a, x), Half(sum.b, w.b, x)};
  }
  static inline Vec ToFloat(const Sum& sum) { return {_mm256_cvtepi32_ps(sum.a), _mm256_cvtepi32_ps(sum.b)}; }
};
constexpr int kColumnsPerTile = 16;
constexpr int kRowsPerTile = 6;  // 12 accumulators of 16 registers

#include "kernels/cpu/inner_kernels_inl.h"
#include "kernels/cpu/isa_table_inl.h"

}  // namespace

const InnerKernels kAvx2Kernels = Table("avx2");

}  // namespace baton::kernels::cpu
