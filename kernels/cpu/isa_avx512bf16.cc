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

#include "kernels/cpu/isa_avx512_dots.h"

constexpr int kColumnsPerTile = 32;
constexpr int kRowsPerTile = 12;  // 24 accumulators of 32 registers

#include "kernels/cpu/inner_kernels_inl.h"
#include "kernels/cpu/isa_table_inl.h"

}  // namespace

const InnerKernels kAvx512Bf16Kernels = Table("avx512bf16");

}  // namespace baton::kernels::cpu
