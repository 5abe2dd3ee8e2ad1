// AVX-512 (F, BW, DQ, VL) with FMA. Compiled with those flags; entered only where the processor has them.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/cpu/inner_kernels.h"

namespace baton::kernels::cpu {
namespace {

#include "kernels/cpu/isa_avx512_vec.h"
#include "kernels/cpu/isa_common_inl.h"

using DotPairs = WideningDotPairs;
/// Without VNNI: magnitudes of the weights times activations that carry their signs; two such products of at
/// most 127 * 127 fit 16 bits.
struct DotBytes {
  using Sum = __m512i;
  struct Weights {
    __m512i magnitude;
    __mmask64 negative;
  };
  static inline Sum Start(int) { return _mm512_setzero_si512(); }
  static inline Weights Load(const unsigned* p) {
    const __m512i w = _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(static_cast<char>(0x80)));
    return {_mm512_abs_epi8(w), _mm512_movepi8_mask(w)};
  }
  static inline __attribute__((always_inline)) Sum Accumulate(Sum sum, const Weights& w, unsigned a) {
    const __m512i x = _mm512_set1_epi32(static_cast<int>(a));
    const __m512i signed_x = _mm512_mask_sub_epi8(x, w.negative, _mm512_setzero_si512(), x);
    const __m512i pairs = _mm512_maddubs_epi16(w.magnitude, signed_x);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  static inline Vec ToFloat(Sum sum) { return {_mm512_cvtepi32_ps(sum)}; }
};
constexpr int kColumnsPerTile = 32;
constexpr int kRowsPerTile = 12;  // 24 accumulators of 32 registers

#include "kernels/cpu/inner_kernels_inl.h"
#include "kernels/cpu/isa_table_inl.h"

}  // namespace

const InnerKernels kAvx512Kernels = Table("avx512");

}  // namespace baton::kernels::cpu
