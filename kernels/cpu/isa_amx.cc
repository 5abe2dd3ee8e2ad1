// AVX-512 as in isa_avx512bf16.cc, and matmuls of bf16 and int8 by the tile unit (AMX: Sapphire Rapids and
// later). A tile product adds 16 even products and 16 odd ones of K apart, then both to the sum, so bf16 is a
// numerics class of its own; int8 sums are exact.
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

#include "kernels/cpu/amx_inl.h"

#include "kernels/cpu/amx_panels_inl.h"
#include "kernels/cpu/isa_table_inl.h"

constexpr InnerKernels AmxTable() {
  InnerKernels table = Table("amx");
  table.matmul_bf16 = MatMulBf16Amx;
  table.matmul_int8 = MatMulInt8Amx;
  table.matmul_bf16_panels = MatMulBf16AmxPanels;
  table.block_rows = kAmxRows;
  table.bf16_block_bytes = Bf16AmxBlockBytes;
  table.int8_block_bytes = Int8AmxBlockBytes;
  table.pack_rows_bf16 = PackRowsBf16Amx;
  table.pack_rows_int8 = PackRowsInt8Amx;
  return table;
}

}  // namespace

const InnerKernels kAmxKernels = AmxTable();

}  // namespace baton::kernels::cpu
