// No #pragma once and no namespace: included inside the anonymous namespace of each isa_*.cc, after Vec.
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
};
