#pragma once

#include <cstddef>
#include <cstdint>

/// The inner loops of the CPU backend: plain pointers and counts, one table of functions per instruction set.
/// The same source (inner_kernels_inl.h) is compiled once per set with that set's flags; which set runs is
/// chosen at run time.
namespace baton::kernels::cpu {

/// Outputs that one panel of a packed matrix holds.
inline constexpr int kPanelColumns = 32;
/// Rows of a block of packed f32 activations, and the stride of their packing. A block of bf16 or int8 ones
/// has InnerKernels::block_rows.
inline constexpr int kTileRows = 12;

/// How the elements of a packed matrix lie in a panel, and so how they are multiplied.
enum class PanelFormat {
  kF32,   // [k][32] floats
  kBF16,  // [k/2][32][2] bf16: pairs of K beside each other, as vdpbf16ps wants them; K is padded to even
          // with zeros
  kInt8,  // [step][32][4] bytes q + 128, q in [-127, 127]: four of K beside each other, each segment padded
          // to a multiple of four; then the scales of q, [segment][32] floats
};

struct MatMulTile {
  const void* panel = nullptr;           // of 32 columns, whole K
  const void* activations = nullptr;     // a block as one of the pack_rows functions leaves it, whole K
  const std::int32_t* bounds = nullptr;  // 9 bounds of the 8 segments: elements, even; kInt8: steps of four
  float* out = nullptr;
  std::int64_t out_stride = 0;  // floats between rows
  int rows = 0;                 // 1 to as many as a block has
  int columns = 0;              // 1 to 32: outputs that exist
  const void* next = nullptr;   // what this thread multiplies next, to be prefetched; null: nothing
  int next_stride = 0;          // bytes of it to ask for with each step of 128 bytes of `panel`: 64 or 128
};

/// Several panels times several blocks of rows, for sets that gain from walking them segment by segment:
/// what all of them read of one segment stays in the caches.
struct MatMulPanels {
  const std::byte* panels = nullptr;  // one after the other
  std::int64_t panel_bytes = 0;
  int panel_count = 0;  // 1 to kPanelsPerItem
  const std::byte* activations = nullptr;
  std::int64_t block_bytes = 0;
  int rows = 0;                          // of all blocks, at most kBlocksPerItem of them
  int block_rows = 0;                    // of each block but the last one
  const std::int32_t* bounds = nullptr;  // of the segments, in elements
  float* out = nullptr;
  std::int64_t out_stride = 0;
  int columns = 0;                  // outputs that exist
  const std::byte* next = nullptr;  // the panel that this thread begins with afterwards; null: none
  float* scratch = nullptr;         // PanelsScratchFloats(panel_count), aligned to 64 bytes
};
inline constexpr std::int64_t kBlocksPerItem = 8;
inline constexpr std::int64_t kPanelsPerItem = 8;
/// Three levels of the segments' tree for each pair of a panel and a block of up to 32 rows.
[[nodiscard]] constexpr std::int64_t PanelsScratchFloats(std::int64_t panels) {
  return panels * kBlocksPerItem * 3 * 32 * kPanelColumns;
}

/// A block of rows of f32 to be packed. How they lie then is the instruction set's own affair, but for f32:
/// [k][12] floats.
struct PackRowsTask {
  const float* in = nullptr;
  std::int64_t stride = 0;
  int rows = 0;
  std::int64_t columns = 0;
  const std::int32_t* bounds = nullptr;  // of the segments, in elements
  void* out = nullptr;
};

/// Rows of one KV head's query group that attend to one sequence.
struct AttentionRows {
  const float* const* q = nullptr;         // per row: [head_dim]
  float* const* out = nullptr;             // per row: [head_dim]
  const std::int64_t* position = nullptr;  // per row
  int rows = 0;                            // 1 to kAttentionRowsMax
};
inline constexpr int kAttentionRowsMax =
    48;  // 4 blocks of 12: enough to pay for repacking a tile's keys and values
inline constexpr int kHeadDimMax = 256;

/// What a thread reads after a tile: keys and values of up to four blocks of some KV head, to be prefetched.
struct AttentionAhead {
  const std::byte* const* blocks = nullptr;
  int count = 0;  // of blocks, at most 4
  std::int64_t k_offset = 0;
  std::int64_t v_offset = 0;
};

struct AttentionTask {
  AttentionRows rows;
  const std::byte* const* blocks = nullptr;  // per 16 positions: where they lie in this layer
  std::int64_t k_offset = 0;                 // bytes from there to this KV head's keys [16][head_dim]
  std::int64_t v_offset = 0;                 // and to its values
  int head_dim = 0;
  float scale = 0;
  int window = 0;
  bool bf16 = false;         // stored type of K and V; else f32
  AttentionAhead next;       // what the thread does after this task
  float* scratch = nullptr;  // AttentionScratchFloats(head_dim)
};
/// Values are packed in panels of 32 dimensions.
[[nodiscard]] constexpr int PaddedHeadDim(int head_dim) {
  return (head_dim + 31) / 32 * 32;
}
[[nodiscard]] constexpr std::int64_t AttentionScratchFloats(int head_dim) {
  return std::int64_t{64 + 64 + kAttentionRowsMax + kAttentionRowsMax + kTileRows} * PaddedHeadDim(head_dim) +
         2 * kTileRows * 64;
}

struct InnerKernels {
  const char* name;
  void (*matmul_f32)(const MatMulTile&);            // f32 panel, f32 activations
  void (*matmul_bf16_f32)(const MatMulTile&);       // bf16 panel widened, f32 activations: the exact class
  void (*matmul_bf16)(const MatMulTile&);           // bf16 panel, bf16 activations
  void (*matmul_int8)(const MatMulTile&);           // int8 panel, int8 activations; equal bits on every set
  void (*matmul_bf16_panels)(const MatMulPanels&);  // the bits of matmul_bf16; null: no gain
  void (*pack_rows_f32)(const float* in, std::int64_t stride, int rows, std::int64_t k, float* out);
  int block_rows;  // rows of a block of packed bf16 or int8 activations
  std::int64_t (*bf16_block_bytes)(const std::int32_t* bounds);  // of the segments, in elements
  std::int64_t (*int8_block_bytes)(const std::int32_t* bounds);
  void (*pack_rows_bf16)(const PackRowsTask&);
  void (*pack_rows_int8)(const PackRowsTask&);  // to signed bytes, a scale for each row and segment
  void (*rms_norm)(const float* in, const float* weight, float epsilon, std::int64_t n, float* out);
  void (*swiglu)(const float* gate, const float* up, std::int64_t n, float* out);
  void (*attention)(const AttentionTask&);
  void (*to_bf16)(const float* in, std::int64_t n, std::uint16_t* out);
};

/// The tables. Each is safe to call only where the processor has the set.
extern const InnerKernels kPortableKernels;
extern const InnerKernels kAvx2Kernels;
extern const InnerKernels kAvx512Kernels;
extern const InnerKernels kAvx512Bf16Kernels;
extern const InnerKernels kAmxKernels;

}  // namespace baton::kernels::cpu
