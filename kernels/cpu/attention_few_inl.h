#pragma once

// Part of attention_inl.h: a tile for a few rows, such as a single token's, from keys and values where they
// lie.
template <bool first, typename A, typename B>
struct Choose {
  using Type = A;
};
template <typename A, typename B>
struct Choose<false, A, B> {
  using Type = B;
};

/// How an f32 activation and stored f32 are multiplied, in the form of DotPairs.
struct DotFloats {
  using Weights = Vec;
  static inline __attribute__((always_inline)) Weights Load(const unsigned* p) {
    return Vec::Load(reinterpret_cast<const float*>(p));
  }
  static inline __attribute__((always_inline)) Vec Accumulate(const Vec& sum, const Weights& w, float a) {
    return Vec::Fma(Vec::Broadcast(a), w, sum);
  }
};

/// Where the keys or values of block `index` of what comes next begin; what lies at `here` where there is
/// none. They are asked for line by line, one or two with each step of arithmetic: memory hands out the
/// blocks of a KV head 2 KiB by 2 KiB, too little for the processor's own prefetch, and it drops what is
/// asked for at once.
inline const char* NextBlock(const AttentionAhead& ahead, int index, std::int64_t offset, const void* here) {
  return index < ahead.count ? reinterpret_cast<const char*>(ahead.blocks[index] + offset)
                             : static_cast<const char*>(here);
}

/// What the thread reads after the tile at `base`, where the last position is `highest`.
inline AttentionAhead AheadOf(const AttentionTask& task, std::int64_t base, std::int64_t highest) {
  const std::int64_t next = base + kTilePositions;
  if (next > highest) return task.next;
  const std::int64_t blocks = (highest - next) / kBlockPositions + 1;
  return {.blocks = task.blocks + next / kBlockPositions,
          .count = blocks < 4 ? static_cast<int>(blocks) : 4,
          .k_offset = task.k_offset,
          .v_offset = task.v_offset};
}

/// Scores of up to `rows` rows in a tile, from the keys where they lie: 16 positions of a block at a time,
/// turned so that each has a lane.
template <typename Dot, typename Activation>
struct FewScores {
  const AttentionTask& task;
  const AttentionScratch& s;
  std::int64_t base;
  int count;
  int steps;
  AttentionAhead ahead;

  template <int rows>
  __attribute__((noinline)) void Run() const {
    const auto* queries = reinterpret_cast<const Activation*>(s.queries);
    for (int j = 0; j < count; j += kBlockPositions) {
      const auto* keys = reinterpret_cast<const unsigned*>(StoredRow(task, base + j, task.k_offset));
      const char* next = NextBlock(ahead, j / kBlockPositions, ahead.k_offset, keys);
      Vec acc[rows];
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) acc[r] = Vec::Zero();
      for (int first = 0; first < steps; first += 16) {
        alignas(64) unsigned turned[16 * kBlockPositions];
        Transpose16(keys + first, steps, steps - first, turned, kBlockPositions);
        const int end = steps - first < 16 ? steps - first : 16;
        for (int i = 0; i < end; ++i) {
          const auto w = Dot::Load(turned + i * kBlockPositions);
          const Activation* a = queries + (first + i) * kTileRows;
          __builtin_prefetch(next, 0, 2);  // a block has as many cache lines as a key has steps
          next += 64;
#pragma GCC unroll 12
          for (int r = 0; r < rows; ++r) acc[r] = Dot::Accumulate(acc[r], w, a[r]);
        }
      }
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) acc[r].Store(s.scores + r * kTilePositions + j);
    }
  }
};

/// Weighted values of up to `rows` rows in a tile of bf16 KV: pairs of positions, where they lie.
struct FewValuesBf16 {
  const AttentionTask& task;
  const AttentionScratch& s;
  std::int64_t base;
  int count;
  AttentionAhead ahead;

  template <int rows>
  __attribute__((noinline)) void Run() const {
    constexpr int kVectors = kColumnsPerTile / 16;
    const auto* weights = reinterpret_cast<const unsigned*>(s.weights);
    for (int column = 0; column < task.head_dim; column += kColumnsPerTile) {
      Vec acc[rows * kVectors];
#pragma GCC unroll 24
      for (int i = 0; i < rows * kVectors; ++i) acc[i] = Vec::Zero();
      for (int j = 0; j < count; j += 2) {
        const auto* even = reinterpret_cast<const unsigned short*>(StoredRow(task, base + j, task.v_offset));
        // A block is head_dim / 2 cache lines; each 16 columns have 8 pairs of it.
        const char* next = NextBlock(ahead, j / kBlockPositions, ahead.v_offset, even);
        const int line = (column / 16 * 8 + j % kBlockPositions / 2 * kVectors);
        for (int v = 0; v < kVectors; ++v) __builtin_prefetch(next + (line + v) * 64, 0, 2);
        const auto* odd =
            j + 1 < count ? even + task.head_dim : reinterpret_cast<const unsigned short*>(kZeroRow);
        DotPairs::Weights w[kVectors];
        DotPairs::LoadRows<kVectors>(even + column, odd + column, task.head_dim - column, w);
#pragma GCC unroll 12
        for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) {
            acc[r * kVectors + v] =
                DotPairs::Accumulate(acc[r * kVectors + v], w[v], weights[r * kWeightStride + j / 2]);
          }
        }
      }
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        DotPairs::Restore<kVectors>(acc + r * kVectors);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v)
          acc[r * kVectors + v].Store(s.products + r * s.padded + column + 16 * v);
      }
    }
  }
};

/// The same of f32 KV.
struct FewValuesF32 {
  const AttentionTask& task;
  const AttentionScratch& s;
  std::int64_t base;
  int count;
  AttentionAhead ahead;

  template <int rows>
  __attribute__((noinline)) void Run() const {
    for (int column = 0; column < task.head_dim; column += 16) {
      Vec acc[rows];
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) acc[r] = Vec::Zero();
      for (int j = 0; j < count; ++j) {
        const auto* row = reinterpret_cast<const float*>(StoredRow(task, base + j, task.v_offset));
        // A block is head_dim cache lines, 16 for each 16 columns.
        const char* next = NextBlock(ahead, j / kBlockPositions, ahead.v_offset, row);
        __builtin_prefetch(next + (column + j % kBlockPositions) * 64, 0, 2);
        const Vec w = LoadF32(row + column, task.head_dim - column);
#pragma GCC unroll 12
        for (int r = 0; r < rows; ++r)
          acc[r] = DotFloats::Accumulate(acc[r], w, s.weights[r * kWeightStride + j]);
      }
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) acc[r].Store(s.products + r * s.padded + column);
    }
  }
};
