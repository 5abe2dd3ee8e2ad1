// No #pragma once: the last thing that an isa_*.cc includes, inside its anonymous namespace.
constexpr InnerKernels Table(const char* name) {
  return {.name = name,
          .matmul_f32 = MatMul<F32Panel>,
          .matmul_bf16_f32 = MatMul<Bf16PanelF32>,
          .matmul_bf16 = MatMul<Bf16Panel>,
          .matmul_int8 = MatMulInt8,
          .matmul_bf16_panels = nullptr,
          .pack_rows_f32 = PackRowsF32,
          .block_rows = kTileRows,
          .bf16_block_bytes = Bf16BlockBytes,
          .int8_block_bytes = Int8BlockBytes,
          .pack_rows_bf16 = PackRowsBf16,
          .pack_rows_int8 = PackRowsInt8,
          .rms_norm = RmsNorm,
          .swiglu = SwiGlu,
          .attention = Attention,
          .to_bf16 = ToBf16};
}
