// No #pragma once: included once by each isa_*.cc, inside that file's own anonymous namespace, after it has
// defined
//   Vec          16 floats: Vec::Zero, Load, Broadcast, Store, operator+ - *, Max, Fma(a, b, c) = a * b + c,
//                Pair{even, odd} LoadPairs (16 dwords of two bf16 each),
//                Scale2(v, n) = v * 2^n
//   LoadF32, LoadBf16 16 stored elements, the first `left` of which exist; Transpose16
//   DotPairs     (acc, dwords of the panel, dword of the activations) for bf16 x bf16
//   DotBytes     (16 sums of 32 bits, dwords of the panel: four bytes offset by 128, a dword of four signed
//                bytes); Start takes -128 * the sum of the latter, for sets that multiply with the offset on
//   kColumnsPerTile 16 or 32, kRowsPerTile: what fits into the registers
// Uses nothing of the standard library, so that no inline function leaves this file compiled for its
// instruction set.

// Each needs what the one before it defines.
#include "kernels/cpu/matmul_inl.h"

#include "kernels/cpu/int8_inl.h"

#include "kernels/cpu/rows_inl.h"

#include "kernels/cpu/attention_inl.h"
