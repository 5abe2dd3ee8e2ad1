#pragma once

// Part of inner_kernels_inl.h: products of packed panels, and the matmul.
/// Segment sums arrive in order; ((s0+s1)+(s2+s3))+((s4+s5)+(s6+s7)) is what remains. Every loop over the
/// sums is unrolled: g++ 12 would keep them on the stack otherwise, and copy them word by word.
template <int count>
struct SegmentTree {
  Vec level[3][count];

  inline __attribute__((always_inline)) void Keep(int height, const Vec (&sum)[count]) {
#pragma GCC unroll 24
    for (int i = 0; i < count; ++i) level[height][i] = sum[i];
  }
  inline __attribute__((always_inline)) void Add(int height, Vec (&sum)[count]) const {
#pragma GCC unroll 24
    for (int i = 0; i < count; ++i) sum[i] = level[height][i] + sum[i];
  }
  /// `sum` is segment `index`'s; after index 7 `sum` holds the whole.
  inline __attribute__((always_inline)) void Join(int index, Vec (&sum)[count]) {
    if ((index & 1) == 0) return Keep(0, sum);
    Add(0, sum);
    if ((index & 2) == 0) return Keep(1, sum);
    Add(1, sum);
    if ((index & 4) == 0) return Keep(2, sum);
    Add(2, sum);
  }
};

struct F32Panel {
  using Activation = float;
  static constexpr int kStep = 1;  // K elements a step
  template <int rows, int vectors, int step_stride, int row_stride>
  static inline __attribute__((always_inline)) void Step(Vec (&acc)[rows * vectors], const void* panel,
                                                         int column, const Activation* activations,
                                                         long step) {
    const float* weights = static_cast<const float*>(panel) + step * kPanelColumns + column;
    const float* a = activations + step * step_stride;
    Vec w[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) w[v] = Vec::Load(weights + 16 * v);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const Vec x = Vec::Broadcast(a[r * row_stride]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) acc[r * vectors + v] = Vec::Fma(x, w[v], acc[r * vectors + v]);
    }
  }
};

struct Bf16PanelF32 {
  using Activation = float;
  static constexpr int kStep = 2;
  template <int rows, int vectors, int step_stride, int row_stride>
  static inline __attribute__((always_inline)) void Step(Vec (&acc)[rows * vectors], const void* panel,
                                                         int column, const Activation* activations,
                                                         long step) {
    const unsigned* weights = static_cast<const unsigned*>(panel) + step * kPanelColumns + column;
    const float* a = activations + 2 * step * step_stride;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      const auto [even, odd] = Vec::LoadPairs(weights + 16 * v);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        Vec& sum = acc[r * vectors + v];
        sum = Vec::Fma(Vec::Broadcast(a[r * row_stride]), even, sum);
        sum = Vec::Fma(Vec::Broadcast(a[step_stride + r * row_stride]), odd, sum);
      }
    }
  }
};

struct Bf16Panel {
  using Activation = unsigned;  // two bf16
  static constexpr int kStep = 2;
  template <int rows, int vectors, int step_stride, int row_stride>
  static inline __attribute__((always_inline)) void Step(Vec (&acc)[rows * vectors], const void* panel,
                                                         int column, const Activation* activations,
                                                         long step) {
    const unsigned* weights = static_cast<const unsigned*>(panel) + step * kPanelColumns + column;
    const unsigned* a = activations + step * step_stride;
    DotPairs::Weights w[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) w[v] = DotPairs::Load(weights + 16 * v);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        acc[r * vectors + v] = DotPairs::Accumulate(acc[r * vectors + v], w[v], a[r * row_stride]);
      }
    }
  }
};

/// Sizes that blocks of rows are compiled for. A block of another size runs as the next larger one: the
/// packed activations have room for 12 rows, and the surplus is not stored.
template <typename Body>
inline __attribute__((always_inline)) void ForRows(int rows, const Body& body) {
  if (rows <= 1) return body.template Run<1>();
  if (rows <= 2) return body.template Run<2>();
  if (rows <= 4 || kRowsPerTile <= 4) return body.template Run<4>();
  if (rows <= 6 || kRowsPerTile <= 6) return body.template Run < kRowsPerTile < 6 ? 1 : 6 > ();
  if (rows <= 8) return body.template Run < kRowsPerTile < 8 ? 1 : 8 > ();
  body.template Run<kRowsPerTile>();
}

/// The first `stored` rows of a block's sums, and the columns that exist.
template <int rows, int vectors>
inline __attribute__((always_inline)) void StoreBlock(const Vec (&acc)[rows * vectors],
                                                      const MatMulTile& tile, int first_row, int stored,
                                                      int column) {
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
    if (r >= stored) return;
    float* out = tile.out + (first_row + r) * tile.out_stride + column;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      const int left = tile.columns - column - 16 * v;
      if (left >= 16) {
        acc[r * vectors + v].Store(out + 16 * v);
      } else if (left > 0) {
        float last[16];
        acc[r * vectors + v].Store(last);
        for (int i = 0; i < left; ++i) out[16 * v + i] = last[i];
      }
    }
  }
}

/// Asks for what the thread multiplies next, to lie in the second-level cache by then: the processor's own
/// prefetch ends at each page, and several rows leave no time to wait for memory. With fewer rows it costs
/// more than it gives.
template <int rows>
struct NextPanel {
  const char* at;
  long stride;

  inline __attribute__((always_inline)) explicit NextPanel(const MatMulTile& tile, bool first)
      : at(static_cast<const char*>(first && tile.next != nullptr ? tile.next : tile.panel)),
        stride(first && tile.next != nullptr ? tile.next_stride : 0) {}
  inline __attribute__((always_inline)) void Prefetch() {
    if constexpr (rows >= 4) {
      __builtin_prefetch(at, 0, 2);
      __builtin_prefetch(at + stride / 2, 0, 2);
      at += stride;
    }
  }
};

/// `rows` x 16*`vectors` outputs: 8 segments of K, each summed in order, joined by the tree. The first
/// `stored` rows are kept.
template <typename Panel, int rows, int vectors>
__attribute__((noinline)) void MatMulBlock(const MatMulTile& tile, int first_row, int stored, int column) {
  const auto* activations = static_cast<const typename Panel::Activation*>(tile.activations) + first_row;
  SegmentTree<rows * vectors> tree;
  Vec acc[rows * vectors];
  NextPanel<rows> next(tile, first_row == 0 && column == 0);
  for (int segment = 0; segment < 8; ++segment) {
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; ++i) acc[i] = Vec::Zero();
    const long end = tile.bounds[segment + 1] / Panel::kStep;
    for (long step = tile.bounds[segment] / Panel::kStep; step < end; ++step) {
      next.Prefetch();
      Panel::template Step<rows, vectors, kTileRows, 1>(acc, tile.panel, column, activations, step);
    }
    tree.Join(segment, acc);
  }
  StoreBlock<rows, vectors>(acc, tile, first_row, stored, column);
}

template <typename Panel>
struct MatMulRows {
  const MatMulTile& tile;
  int first_row;
  int stored;
  template <int rows>
  void Run() const {
    for (int column = 0; column < tile.columns; column += kColumnsPerTile) {
      MatMulBlock<Panel, rows, kColumnsPerTile / 16>(tile, first_row, stored, column);
    }
  }
};

/// Every row goes through the same operations in the same order, whichever block of rows it is in.
template <typename Panel>
void MatMul(const MatMulTile& tile) {
  for (int row = 0; row < tile.rows; row += kRowsPerTile) {
    const int rows = tile.rows - row < kRowsPerTile ? tile.rows - row : kRowsPerTile;
    ForRows(rows, MatMulRows<Panel>{tile, row, rows});
  }
}

/// A product of panels with rows summed in one go, without segments: what attention takes.
struct ProductTask {
  const float* panels = nullptr;
  int panel_steps = 0;  // steps of K that a panel has room for
  const void* activations = nullptr;
  int rows = 0;   // 1 to kRowsPerTile
  int steps = 0;  // of K
  int columns = 0;
  float* out = nullptr;  // rows up to kRowsPerTile and columns up to a multiple of 32 are written
  int out_stride = 0;
};

template <typename Panel, int step_stride, int row_stride>
struct ProductRows {
  const ProductTask& task;
  template <int rows>
  __attribute__((noinline)) void Run() const {
    constexpr int kVectors = kColumnsPerTile / 16;
    const auto* activations = static_cast<const typename Panel::Activation*>(task.activations);
    for (int column = 0; column < task.columns; column += kColumnsPerTile) {
      const float* panel = task.panels + column / kPanelColumns * task.panel_steps * kPanelColumns;
      Vec acc[rows * kVectors];
#pragma GCC unroll 24
      for (int i = 0; i < rows * kVectors; ++i) acc[i] = Vec::Zero();
      for (long step = 0; step < task.steps; ++step) {
        Panel::template Step<rows, kVectors, step_stride, row_stride>(acc, panel, column % kPanelColumns,
                                                                      activations, step);
      }
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          acc[r * kVectors + v].Store(task.out + r * task.out_stride + column + 16 * v);
        }
      }
    }
  }
};

template <typename Panel, int step_stride, int row_stride>
inline void Product(const ProductTask& task) {
  ForRows(task.rows, ProductRows<Panel, step_stride, row_stride>{task});
}
