// No #pragma once and no namespace: included inside the anonymous namespace of isa_avx512*.cc.
struct Vec {
  __m512 v;
  struct Pair;
  static inline Vec Zero() { return {_mm512_setzero_ps()}; }
  static inline Vec Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static inline Vec Broadcast(float x) { return {_mm512_set1_ps(x)}; }
  inline void Store(float* p) const { _mm512_storeu_ps(p, v); }
  static inline Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  static inline Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  static inline Vec Fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static inline Vec Round(Vec a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static inline Vec Scale2(Vec a, Vec n) {
    const __m512i exponent =
        _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23);
    return {_mm512_mul_ps(a.v, _mm512_castsi512_ps(exponent))};
  }
  static inline Vec ZeroWhereBelow(Vec a, Vec x, float bound) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, _mm512_set1_ps(bound), _CMP_GE_OQ), a.v)};
  }
  static inline Pair LoadPairs(const unsigned* p);
};
struct Vec::Pair {
  Vec even;
  Vec odd;
};
inline Vec::Pair Vec::LoadPairs(const unsigned* p) {
  const __m512i bits = _mm512_loadu_si512(p);
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16))},
          {_mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000U))))}};
}
inline Vec operator+(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Vec operator-(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Vec operator*(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Vec operator/(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}

inline Vec LoadBf16(const unsigned short* p, int left) {
  const __m256i bits = left >= 16 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                                  : _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1U << left) - 1), p);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline Vec LoadF32(const float* p, int left) {
  return {left >= 16 ? _mm512_loadu_ps(p)
                     : _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << left) - 1), p)};
}

/// 16 rows of up to 16 dwords become 16 columns: dword j of row i goes to out[j * out_stride + i].
inline void Transpose16(const unsigned* in, long stride, int left, unsigned* out, long out_stride) {
  const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffffU : (1U << left) - 1);
  __m512i a[16];
  __m512i b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_maskz_loadu_epi32(mask, in + i * stride);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  // a[4 r + c] holds column 4 q + c of rows 4 r to 4 r + 3 in quarter q.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i low_even = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
    const __m512i low_odd = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
    const __m512i high_even = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
    const __m512i high_odd = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
    _mm512_storeu_si512(out + c * out_stride, _mm512_shuffle_i32x4(low_even, high_even, 0x88));
    _mm512_storeu_si512(out + (4 + c) * out_stride, _mm512_shuffle_i32x4(low_odd, high_odd, 0x88));
    _mm512_storeu_si512(out + (8 + c) * out_stride, _mm512_shuffle_i32x4(low_even, high_even, 0xdd));
    _mm512_storeu_si512(out + (12 + c) * out_stride, _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd));
  }
}
