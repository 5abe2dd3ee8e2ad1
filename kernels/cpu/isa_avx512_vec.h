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
