#pragma once

// Part of inner_kernels_inl.h: attention of one KV head's query rows over the tiles of 64 positions of a
// sequence. For many rows, keys and values of a tile are repacked into panels of 32, so that both products
// are those of the matmul. A few rows (a single token's) read them where they lie; each score and each value
// is summed in the same order, so that both ways give the same bits.

constexpr int kTilePositions = 64;
constexpr int kBlockPositions = 16;  // that lie side by side in memory
/// Floats between the weights of two rows of a block.
constexpr int kWeightStride = kTilePositions;

/// Where the parts of a task's scratch begin.
struct AttentionScratch {
  float* keys;      // [2 panels of 32 positions][dim step][32]
  float* values;    // [panels of 32 dims][position step][32]
  float* queries;   // [blocks of 12 rows][dim step][12]
  float* sums;      // [rows][padded dim]
  float* products;  // [12][padded dim], of one tile
  float* scores;    // [12][64]
  float* weights;   // [12][64] floats, or [12][64] with the first 32 dwords of two bf16
  int padded;       // head_dim rounded up to 32
};

inline AttentionScratch Carve(const AttentionTask& task) {
  AttentionScratch s{};
  s.padded = PaddedHeadDim(task.head_dim);
  s.keys = task.scratch;
  s.values = s.keys + kTilePositions * s.padded;
  s.queries = s.values + kTilePositions * s.padded;
  s.sums = s.queries + kAttentionRowsMax * s.padded;
  s.products = s.sums + kAttentionRowsMax * s.padded;
  s.scores = s.products + kTileRows * s.padded;
  s.weights = s.scores + kTileRows * kTilePositions;
  return s;
}

typedef unsigned short Halves8 __attribute__((vector_size(16)));

template <typename Out>
inline __attribute__((always_inline)) Out Load16(const void* p) {
  Out value;
  __builtin_memcpy(&value, p, 16);
  return value;
}

alignas(64) constexpr unsigned kZeroRow[kHeadDimMax] = {};

/// A stored row of this KV head: `offset` is k_offset or v_offset.
inline const std::byte* StoredRow(const AttentionTask& task, std::int64_t position, std::int64_t offset) {
  return task.blocks[position / 16] + offset + position % 16 * task.head_dim * (task.bf16 ? 2 : 4);
}

/// Keys of the tile's first `count` positions, a dword (one f32 or two bf16) a step. Those after them are
/// whatever lies there: nobody sees their scores.
void LoadKeys(const AttentionTask& task, std::int64_t first, int count, int steps, float* keys) {
  for (int j = 0; j < count; j += kBlockPositions) {
    const auto* rows = reinterpret_cast<const unsigned*>(StoredRow(task, first + j, task.k_offset));
    unsigned* panel = reinterpret_cast<unsigned*>(keys) + j / kPanelColumns * steps * kPanelColumns;
    for (int step = 0; step < steps; step += 16) {
      Transpose16(rows + step, steps, steps - step, panel + step * kPanelColumns + j % kPanelColumns,
                  kPanelColumns);
    }
  }
}

/// Values of positions [first, first + count) of f32 KV.
void LoadValuesF32(const AttentionTask& task, std::int64_t first, int count, int padded, float* values) {
  for (int j = 0; j < count; ++j) {
    const auto* row = reinterpret_cast<const float*>(StoredRow(task, first + j, task.v_offset));
    for (int d = 0; d < padded; d += kPanelColumns) {
      float* out = values + d * kTilePositions + j * kPanelColumns;
      const int left = task.head_dim - d;
      if (left >= kPanelColumns) {
        __builtin_memcpy(out, row + d, kPanelColumns * 4);
      } else {
        for (int i = 0; i < kPanelColumns; ++i) out[i] = i < left ? row[d + i] : 0.0F;
      }
    }
  }
}

/// The same of bf16 KV, positions in pairs: dword d holds dimension d of an even position and of the odd one
/// after it.
void LoadValuesBf16(const AttentionTask& task, std::int64_t first, int count, int padded, float* values) {
  for (int j = 0; j < count; j += 2) {
    const auto* even = reinterpret_cast<const unsigned short*>(StoredRow(task, first + j, task.v_offset));
    const auto* odd =
        j + 1 < count ? reinterpret_cast<const unsigned short*>(StoredRow(task, first + j + 1, task.v_offset))
                      : reinterpret_cast<const unsigned short*>(kZeroRow);
    auto* out = reinterpret_cast<unsigned*>(values) + j / 2 * kPanelColumns;
    const int panel = kTilePositions / 2 * kPanelColumns;  // dwords of one
    int d = 0;
    for (; d + 8 <= task.head_dim; d += 8) {
      const auto a = Load16<Halves8>(even + d);
      const auto b = Load16<Halves8>(odd + d);
      const Halves8 low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
      const Halves8 high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
      unsigned* target = out + d / kPanelColumns * panel + d % kPanelColumns;
      __builtin_memcpy(target, &low, 16);
      __builtin_memcpy(target + 4, &high, 16);
    }
    for (; d < padded; ++d) {
      const unsigned pair = d < task.head_dim ? even[d] | static_cast<unsigned>(odd[d]) << 16 : 0U;
      out[d / kPanelColumns * panel + d % kPanelColumns] = pair;
    }
  }
}

/// What the rows carry from tile to tile.
struct SoftmaxState {
  float highest[kAttentionRowsMax];
  float total[kAttentionRowsMax];
};

/// One row's weights in one tile: e^(score - the tile's highest) where the row sees, 0 elsewhere; their sum;
/// and that highest. `low` and `high` are the first and last position of the tile that it sees, from 0.
template <bool bf16>
inline void TileSoftmax(float* scores, float scale, int low, int high, float* weights, float& highest,
                        float& total) {
  Vec x[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) x[v] = Vec::Load(scores + 16 * v) * Vec::Broadcast(scale);
  if (low > 0 || high < kTilePositions - 1) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) x[v].Store(scores + 16 * v);
    for (int j = 0; j < low; ++j) scores[j] = -__builtin_inff();
    for (int j = high + 1; j < kTilePositions; ++j) scores[j] = -__builtin_inff();
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) x[v] = Vec::Load(scores + 16 * v);
  }
  float lane[16];
  Vec::Max(Vec::Max(x[0], x[1]), Vec::Max(x[2], x[3])).Store(lane);
  highest = lane[0];
  for (int i = 1; i < 16; ++i) highest = lane[i] > highest ? lane[i] : highest;
  float p[kTilePositions];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    x[v] = Exp(x[v] - Vec::Broadcast(highest));
    x[v].Store(p + 16 * v);
  }
  if constexpr (bf16) {
    auto* rounded = reinterpret_cast<std::uint16_t*>(weights);
    ToBf16(p, kTilePositions, rounded);
    // The sum is of the weights as they are used, so that they add up to 1.
    Vec sum = Vec::Zero();
    for (int v = 0; v < 2; ++v) {
      const auto [even, odd] = Vec::LoadPairs(reinterpret_cast<const unsigned*>(weights) + 16 * v);
      sum = sum + (even + odd);
    }
    total = SumLanes(sum);
  } else {
    __builtin_memcpy(weights, p, sizeof p);
    total = SumLanes((x[0] + x[1]) + (x[2] + x[3]));
  }
}

/// Up to kRowsPerTile rows of a task, and how they stand in the tile at hand.
struct AttentionBlock {
  int first = 0;
  int rows = 0;
  bool sees[kTileRows] = {};
  bool any = false;
};

/// Which rows see the tile; [low, high] of each is within it.
inline void Look(const AttentionTask& task, std::int64_t base, AttentionBlock& block, int (&low)[kTileRows],
                 int (&high)[kTileRows]) {
  block.any = false;
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t position = task.rows.position[block.first + r];
    const std::int64_t begin = task.window > 0 ? position - task.window + 1 - base : 0;
    const std::int64_t end = position - base;
    block.sees[r] = end >= 0 && begin < kTilePositions;
    low[r] = block.sees[r] && begin > 0 ? static_cast<int>(begin) : 0;
    high[r] = end < kTilePositions - 1 ? static_cast<int>(end) : kTilePositions - 1;
    block.any = block.any || block.sees[r];
  }
}

/// Joins the block's tile results to what its rows carry: both are scaled to the higher of the two maxima.
inline void Merge(const AttentionScratch& s, const AttentionBlock& block, const float (&highest)[16],
                  const float (&total)[16], SoftmaxState& state) {
  float old_highest[16] = {};
  for (int r = 0; r < block.rows; ++r) old_highest[r] = state.highest[block.first + r];
  const Vec before = Vec::Load(old_highest);
  const Vec now = Vec::Load(highest);
  const Vec top = Vec::Max(before, now);
  float tops[16];
  float keep[16];
  float add[16];
  top.Store(tops);
  Exp(before - top).Store(keep);
  Exp(now - top).Store(add);
  for (int r = 0; r < block.rows; ++r) {
    if (!block.sees[r]) continue;
    const int row = block.first + r;
    state.highest[row] = tops[r];
    state.total[row] = state.total[row] * keep[r] + total[r] * add[r];
    float* sums = s.sums + row * s.padded;
    const float* products = s.products + r * s.padded;
    for (int d = 0; d < s.padded; d += 16) {
      const Vec kept = Vec::Load(sums + d) * Vec::Broadcast(keep[r]);
      Vec::Fma(Vec::Load(products + d), Vec::Broadcast(add[r]), kept).Store(sums + d);
    }
  }
}

#include "kernels/cpu/attention_few_inl.h"

/// A tile's scores of the block's rows; `packed`: from panels.
template <typename Panel, bool bf16>
inline void ScoreTile(const AttentionTask& task, const AttentionScratch& s, std::int64_t base, int count,
                      const AttentionBlock& block, bool packed, const AttentionAhead& ahead) {
  const int steps = bf16 ? task.head_dim / 2 : task.head_dim;
  if (!packed) {
    using Dot = typename Choose<bf16, DotPairs, DotFloats>::Type;
    return ForRows(block.rows,
                   FewScores<Dot, typename Panel::Activation>{task, s, base, count, steps, ahead});
  }
  const auto* queries = reinterpret_cast<const typename Panel::Activation*>(s.queries) +
                        block.first / kTileRows * steps * kTileRows + block.first % kTileRows;
  Product<Panel, kTileRows, 1>({.panels = s.keys,
                                .panel_steps = steps,
                                .activations = queries,
                                .rows = block.rows,
                                .steps = steps,
                                .columns = count,
                                .out = s.scores,
                                .out_stride = kTilePositions});
}

/// A tile's values, weighted by the block's rows.
template <typename Panel, bool bf16>
inline void WeighTile(const AttentionTask& task, const AttentionScratch& s, std::int64_t base, int count,
                      const AttentionBlock& block, bool packed, const AttentionAhead& ahead) {
  if (!packed) {
    using Few = typename Choose<bf16, FewValuesBf16, FewValuesF32>::Type;
    return ForRows(block.rows, Few{task, s, base, count, ahead});
  }
  constexpr int kStep = bf16 ? 2 : 1;
  Product<Panel, 1, kWeightStride>({.panels = s.values,
                                    .panel_steps = kTilePositions / kStep,
                                    .activations = s.weights,
                                    .rows = block.rows,
                                    .steps = (count + kStep - 1) / kStep,
                                    .columns = task.head_dim,
                                    .out = s.products,
                                    .out_stride = s.padded});
}

/// One tile of `count` positions for one block of rows.
template <typename Panel, bool bf16>
void AttendTile(const AttentionTask& task, const AttentionScratch& s, std::int64_t base, int count,
                AttentionBlock& block, bool packed, const AttentionAhead& ahead, SoftmaxState& state) {
  int low[kTileRows];
  int high[kTileRows];
  Look(task, base, block, low, high);
  if (!block.any) return;
  ScoreTile<Panel, bf16>(task, s, base, count, block, packed, ahead);
  float highest[16] = {};
  float total[16] = {};
  for (int r = 0; r < block.rows; ++r) {
    float* weights = s.weights + r * kWeightStride;
    if (block.sees[r]) {
      TileSoftmax<bf16>(s.scores + r * kTilePositions, task.scale, low[r], high[r], weights, highest[r],
                        total[r]);
    } else {
      __builtin_memset(weights, 0, kTilePositions * 4);
    }
  }
  WeighTile<Panel, bf16>(task, s, base, count, block, packed, ahead);
  Merge(s, block, highest, total, state);
}

/// The rows' queries, packed as a matmul's activations are.
template <bool bf16>
void LoadQueries(const AttentionTask& task, float* queries) {
  const int steps = bf16 ? task.head_dim / 2 : task.head_dim;
  for (int r = 0; r < task.rows.rows; ++r) {
    const float* in = task.rows.q[r];
    std::uint16_t rounded[kHeadDimMax];
    if constexpr (bf16) ToBf16(in, task.head_dim, rounded);
    float* out = queries + r / kTileRows * steps * kTileRows + r % kTileRows;
    for (int i = 0; i < steps; ++i) {
      if constexpr (bf16) {
        __builtin_memcpy(out + i * kTileRows, rounded + 2 * i, 4);
      } else {
        out[i * kTileRows] = in[i];
      }
    }
  }
}

template <typename Panel, bool bf16>
void AttendRows(const AttentionTask& task) {
  const AttentionScratch s = Carve(task);
  SoftmaxState state;
  std::int64_t lowest = task.rows.position[0];
  std::int64_t highest = lowest;
  for (int r = 0; r < task.rows.rows; ++r) {
    const std::int64_t position = task.rows.position[r];
    lowest = position < lowest ? position : lowest;
    highest = position > highest ? position : highest;
    state.highest[r] = -__builtin_inff();
    state.total[r] = 0;
  }
  __builtin_memset(s.sums, 0, static_cast<std::size_t>(task.rows.rows * s.padded) * 4);
  LoadQueries<bf16>(task, s.queries);
  const bool packed = task.rows.rows > kRowsPerTile;
  const std::int64_t seen_from = task.window > 0 && lowest >= task.window ? lowest - task.window + 1 : 0;
  for (std::int64_t base = seen_from / kTilePositions * kTilePositions; base <= highest;
       base += kTilePositions) {
    const int count = highest - base < kTilePositions ? static_cast<int>(highest - base) + 1 : kTilePositions;
    if (packed) {
      LoadKeys(task, base, count, bf16 ? task.head_dim / 2 : task.head_dim, s.keys);
      (bf16 ? LoadValuesBf16 : LoadValuesF32)(task, base, count, s.padded, s.values);
    }
    for (int first = 0; first < task.rows.rows; first += kRowsPerTile) {
      AttentionBlock block{.first = first};
      block.rows = task.rows.rows - first < kRowsPerTile ? task.rows.rows - first : kRowsPerTile;
      AttendTile<Panel, bf16>(task, s, base, count, block, packed, AheadOf(task, base, highest), state);
    }
  }
  for (int r = 0; r < task.rows.rows; ++r) {
    for (int d = 0; d < task.head_dim; ++d) task.rows.out[r][d] = s.sums[r * s.padded + d] / state.total[r];
  }
}

void Attention(const AttentionTask& task) {
  if (task.bf16) {
    AttendRows<Bf16Panel, true>(task);
  } else {
    AttendRows<F32Panel, false>(task);
  }
}
