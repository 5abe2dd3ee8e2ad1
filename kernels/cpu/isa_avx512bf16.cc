// AVX-512 with the BF16 dot product, which adds both products of a pair to each f32 lane, and the byte dot
// product (VNNI), which adds four to each 32-bit lane.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/cpu/inner_kernels.h"

namespace baton::kernels::cpu {
namespace {

#include "kernels/cpu/isa_avx512_vec.h"
#include "kernels/cpu/isa_common_inl.h"

struct DotPairs {
  using Weights = __m512i;
  static inline Weights Load(const unsigned* p) { return _mm512_loadu_si512(p); }
  static inline __attribute__((always_inline)) Vec Accumulate(Vec sum, const Weights& w, unsigned a) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(w),
                             reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a))))};
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
constexpr int kColumnsPerTile = 32;
constexpr int kRowsPerTile = 12;  // 24 accumulators of 32 registers

#include "kernels/cpu/inner_kernels_inl.h"
#include "kernels/cpu/isa_table_inl.h"

}  // namespace

const InnerKernels kAvx512Bf16Kernels = Table("avx512bf16");

}  // namespace baton::kernels::cpu
