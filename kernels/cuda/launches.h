#pragma once

#include "kernels/cuda/arguments.h"

namespace baton::kernels::cuda {

/// A stream of the device's, or what stands for one.
using Queue = void*;

/// Which kernel a product takes.
enum class MatMulKernel : int { kStream8, kStream16, kStream32, kSmallTile, kLargeTile };

/// Rows that an attention block has.
enum class AttentionKernel : int { kFewRows, kManyRows };

/// Rows of an AttentionItem, at most.
inline constexpr int kFewRows = 16;
/// For heads of at most 128 dimensions; half as many for wider ones.
inline constexpr int kManyRows = 64;

/// Shared memory that a block has at most: devices of compute capability 8.0 and 9.0 give 163 and 227 KiB,
/// those of 8.6 and 8.9 only 99.
inline constexpr int kBlockSharedBytes = 140 << 10;

/// Enqueues each kernel: of device code for one device, or of the tests' emulation.
struct Launches {
  void (*embed)(Queue, const EmbedArguments&) = nullptr;
  void (*rms_norm)(Queue, const NormArguments&) = nullptr;
  void (*rms_norm_heads)(Queue, const NormHeadsArguments&) = nullptr;
  void (*rope)(Queue, const RopeArguments&) = nullptr;
  void (*swiglu)(Queue, const PairArguments&) = nullptr;
  void (*add)(Queue, const PairArguments&) = nullptr;
  void (*gate_rows)(Queue, const PairArguments&) = nullptr;
  void (*gather_rows)(Queue, const PlaceArguments&) = nullptr;
  void (*add_scaled_rows)(Queue, const PlaceArguments&) = nullptr;
  void (*choose_experts)(Queue, const ChooseArguments&) = nullptr;
  void (*write_kv)(Queue, const WriteKvArguments&) = nullptr;
  void (*rope_write_kv)(Queue, const RopeWriteArguments&) = nullptr;
  void (*copy_rows)(Queue, const PairArguments&) = nullptr;
  void (*sum_ranks)(Queue, const SumRanksArguments&) = nullptr;
  void (*highest)(Queue, const HighestArguments&) = nullptr;
  void (*draw)(Queue, const DrawArguments&) = nullptr;
  void (*pack_rows)(Queue, const PackRowsArguments&) = nullptr;
  void (*pack_rows_fp8)(Queue, const PackRowsArguments&) = nullptr;
  void (*scale)(Queue, const ScaleArguments&) = nullptr;
  void (*matmul)(Queue, MatMulKernel, const MatMulArguments&) = nullptr;
  void (*matmul_f32)(Queue, const MatMulArguments&) = nullptr;
  void (*attend)(Queue, AttentionKernel, const AttentionArguments&) = nullptr;
  void (*attend_f32)(Queue, const AttentionArguments&) = nullptr;
  void (*combine)(Queue, const AttentionArguments&) = nullptr;
  void (*stage)(Queue, const StageArguments&) = nullptr;
};

/// Those of a GPU; defined where the build has CUDA.
extern const Launches kDeviceLaunches;
/// Loads them onto the current device and asks for kBlockSharedBytes; the runtime's error code, 0: none. Left
/// to its first launch, a kernel is loaded behind the device's work, which may wait for another rank's, which
/// may wait for the loader.
[[nodiscard]] int LoadDeviceKernels();

}  // namespace baton::kernels::cuda
