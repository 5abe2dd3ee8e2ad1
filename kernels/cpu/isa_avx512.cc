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
constexpr int kColumnsPerTile = 32;
constexpr int kRowsPerTile = 12;  // 24 accumulators of 32 registers

#include "kernels/cpu/inner_kernels_inl.h"
#include "kernels/cpu/isa_table_inl.h"

}  // namespace

const InnerKernels kAvx512Kernels = Table("avx512");

}  // namespace baton::kernels::cpu
