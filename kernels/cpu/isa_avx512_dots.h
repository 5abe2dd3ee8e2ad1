// No #pragma once and no namespace: included inside the anonymous namespace of isa_avx512bf16.cc and
// isa_amx.cc.
struct DotPairs {
  using Weights = __m512i;
  static inline Weights Load(const unsigned* p) { return _mm512_loadu_si512(p); }
  static inline __attribute__((always_inline)) Vec Accumulate(Vec sum, const Weights& w, unsigned a) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(w),
                             reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a))))};
  }
  /// Two rows of stored bf16 as pairs, 32 of them in the order that interleaving leaves: 0-3, 8-11, 16-19,
  /// 24-27 in the first vector, the others in the second. The first `left` exist, the rest is 0.
  template <int vectors>
  static inline __attribute__((always_inline)) void LoadRows(const unsigned short* even,
                                                             const unsigned short* odd, int left,
                                                             Weights (&w)[vectors]) {
    static_assert(vectors == 2);
    const auto mask = static_cast<__mmask32>(left >= 32 ? 0xffffffffU : (1U << left) - 1);
    const __m512i a = _mm512_maskz_loadu_epi16(mask, even);
    const __m512i b = _mm512_maskz_loadu_epi16(mask, odd);
    w[0] = _mm512_unpacklo_epi16(a, b);
    w[1] = _mm512_unpackhi_epi16(a, b);
  }
  /// Sums of such pairs into the rows' order.
  template <int vectors>
  static inline __attribute__((always_inline)) void Restore(Vec* sum) {
    static_assert(vectors == 2);
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    const __m512 low = sum[0].v;
    sum[0].v = _mm512_permutex2var_ps(low, first, sum[1].v);
    sum[1].v = _mm512_permutex2var_ps(low, second, sum[1].v);
  }
};
struct DotBytes {
  using Sum = __m512i;
  using Weights = __m512i;
  static inline Sum Start(int correction) { return _mm512_set1_epi32(correction); }
  static inline Weights Load(const unsigned* p) { return _mm512_loadu_si512(p); }
  static inline __attribute__((always_inline)) Sum Accumulate(Sum sum, Weights w, unsigned a) {
    // Not the intrinsic: with it g++ 12 keeps most sums on the stack.
    const __m512i x = _mm512_set1_epi32(static_cast<int>(a));
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
  }
  static inline Vec ToFloat(Sum sum) { return {_mm512_cvtepi32_ps(sum)}; }
};
