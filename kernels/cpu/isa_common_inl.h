// No #pragma once and no namespace: included inside the anonymous namespace of each isa_*.cc, after Vec and
// what loads it.
inline float WidenBf16(unsigned value) {
  const unsigned bits = value << 16;
  float result = 0;
  __builtin_memcpy(&result, &bits, 4);
  return result;
}

/// bf16 x bf16 by widening: the even product, then the odd one, each added in f32.
struct WideningDotPairs {
  using Weights = Vec::Pair;
  static inline Weights Load(const unsigned* p) { return Vec::LoadPairs(p); }
  static inline __attribute__((always_inline)) Vec Accumulate(Vec sum, const Weights& w, unsigned a) {
    sum = Vec::Fma(Vec::Broadcast(WidenBf16(a & 0xffffU)), w.even, sum);
    return Vec::Fma(Vec::Broadcast(WidenBf16(a >> 16)), w.odd, sum);
  }
  /// Two rows of stored bf16 as the even and the odd ones of pairs; the first `left` exist, the rest is 0.
  template <int vectors>
  static inline __attribute__((always_inline)) void LoadRows(const unsigned short* even,
                                                             const unsigned short* odd, int left,
                                                             Weights (&w)[vectors]) {
    for (int v = 0; v < vectors; ++v) {
      const int here = left - 16 * v;
      w[v].even = here > 0 ? LoadBf16(even + 16 * v, here) : Vec::Zero();
      w[v].odd = here > 0 ? LoadBf16(odd + 16 * v, here) : Vec::Zero();
    }
  }
  /// Sums of such pairs into the rows' order.
  template <int vectors>
  static inline __attribute__((always_inline)) void Restore(Vec*) {}
};
