// No #pragma once: included once by each isa_*.cc, inside that file's own anonymous namespace, after it has defined
//   Vec          16 floats: Vec::Zero, Load, Broadcast, Store, operator+ - *, Max, Fma(a, b, c) = a * b + c,
//                LoadBf16 (16 bf16 widened), Pair{even, odd} LoadPairs (16 dwords of two bf16 each), Scale2(v, n) = v * 2^n
//   DotPairs     (acc, dwords of the panel, dword of the activations) for bf16 x bf16
//   kColumnsPerTile 16 or 32, kRowsPerTile: what fits into the registers
// Uses nothing of the standard library, so that no inline function leaves this file compiled for its instruction set.

/// acc += tree, level by level: segment sums arrive in order, and ((s0+s1)+(s2+s3))+((s4+s5)+(s6+s7)) is what remains.
template <int count>
struct SegmentTree {
  Vec level[3][count];

  /// `sum` is segment `index`'s; after index 7 `sum` holds the whole.
  inline __attribute__((always_inline)) void Join(int index, Vec (&sum)[count]) {
    for (int height = 0; height < 3; ++height) {
      if ((index >> height & 1) == 0) {
        for (int i = 0; i < count; ++i) level[height][i] = sum[i];
        return;
      }
      for (int i = 0; i < count; ++i) sum[i] = level[height][i] + sum[i];
    }
  }
};

struct F32Panel {
  using Activation = float;
  static constexpr int kStep = 1;  // K elements a step
  template <int rows, int vectors>
  static inline __attribute__((always_inline)) void Step(Vec (&acc)[rows * vectors], const void* panel, int column,
                                                         const Activation* activations, long step) {
    const float* weights = static_cast<const float*>(panel) + step * kPanelColumns + column;
    const float* a = activations + step * kTileRows;
    Vec w[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) w[v] = Vec::Load(weights + 16 * v);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const Vec x = Vec::Broadcast(a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) acc[r * vectors + v] = Vec::Fma(x, w[v], acc[r * vectors + v]);
    }
  }
};

struct Bf16PanelF32 {
  using Activation = float;
  static constexpr int kStep = 2;
  template <int rows, int vectors>
  static inline __attribute__((always_inline)) void Step(Vec (&acc)[rows * vectors], const void* panel, int column,
                                                         const Activation* activations, long step) {
    const unsigned* weights = static_cast<const unsigned*>(panel) + step * kPanelColumns + column;
    const float* a = activations + 2 * step * kTileRows;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      const auto [even, odd] = Vec::LoadPairs(weights + 16 * v);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        Vec& sum = acc[r * vectors + v];
        sum = Vec::Fma(Vec::Broadcast(a[r]), even, sum);
        sum = Vec::Fma(Vec::Broadcast(a[kTileRows + r]), odd, sum);
      }
    }
  }
};

struct Bf16Panel {
  using Activation = unsigned;  // two bf16
  static constexpr int kStep = 2;
  template <int rows, int vectors>
  static inline __attribute__((always_inline)) void Step(Vec (&acc)[rows * vectors], const void* panel, int column,
                                                         const Activation* activations, long step) {
    const unsigned* weights = static_cast<const unsigned*>(panel) + step * kPanelColumns + column;
    const unsigned* a = activations + step * kTileRows;
    DotPairs::Weights w[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) w[v] = DotPairs::Load(weights + 16 * v);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        acc[r * vectors + v] = DotPairs::Accumulate(acc[r * vectors + v], w[v], a[r]);
      }
    }
  }
};

/// `rows` x 16*`vectors` outputs: 8 segments of K, each summed in order, joined by the tree.
template <typename Panel, int rows, int vectors>
__attribute__((noinline)) void MatMulBlock(const MatMulTile& tile, int first_row, int column) {
  const auto* activations = static_cast<const typename Panel::Activation*>(tile.activations) + first_row;
  SegmentTree<rows * vectors> tree;
  Vec acc[rows * vectors];
  for (int segment = 0; segment < 8; ++segment) {
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; ++i) acc[i] = Vec::Zero();
    const long end = tile.bounds[segment + 1] / Panel::kStep;
    for (long step = tile.bounds[segment] / Panel::kStep; step < end; ++step) {
      Panel::template Step<rows, vectors>(acc, tile.panel, column, activations, step);
    }
    tree.Join(segment, acc);
  }
  for (int r = 0; r < rows; ++r) {
    float* out = tile.out + (first_row + r) * tile.out_stride + column;
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

template <typename Panel, int rows>
void MatMulRows(const MatMulTile& tile, int first_row) {
  constexpr int kVectors = kColumnsPerTile / 16;
  for (int column = 0; column < tile.columns; column += kColumnsPerTile) {
    MatMulBlock<Panel, rows, kVectors>(tile, first_row, column);
  }
}

/// Every row goes through the same operations in the same order, whichever block of rows it is in.
template <typename Panel>
void MatMul(const MatMulTile& tile) {
  int row = 0;
  for (; tile.rows - row >= kRowsPerTile; row += kRowsPerTile) MatMulRows<Panel, kRowsPerTile>(tile, row);
  for (; tile.rows - row >= 4; row += 4) MatMulRows<Panel, 4>(tile, row);
  for (; row < tile.rows; ++row) MatMulRows<Panel, 1>(tile, row);
}

inline unsigned short RoundToBf16(float value) {
  unsigned bits = 0;
  __builtin_memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<unsigned short>((bits >> 16) | 0x40U);  // stays a NaN
  return static_cast<unsigned short>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

void ToBf16(const float* in, std::int64_t n, std::uint16_t* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = RoundToBf16(in[i]);
}

void PackRowsF32(const float* in, std::int64_t stride, int rows, std::int64_t k, float* out) {
  const std::int64_t padded = k + (k & 1);
  for (int r = 0; r < kTileRows; ++r) {
    for (std::int64_t i = 0; i < padded; ++i) {
      out[i * kTileRows + r] = r < rows && i < k ? in[r * stride + i] : 0.0F;
    }
  }
}

void PackRowsBf16(const float* in, std::int64_t stride, int rows, std::int64_t k, std::uint16_t* out) {
  const std::int64_t padded = k + (k & 1);
  for (int r = 0; r < kTileRows; ++r) {
    for (std::int64_t i = 0; i < padded; ++i) {
      out[(i / 2 * kTileRows + r) * 2 + (i & 1)] = r < rows && i < k ? RoundToBf16(in[r * stride + i]) : 0;
    }
  }
}

/// Sum of the lanes in a fixed order.
inline float SumLanes(const Vec& v) {
  float lane[16];
  v.Store(lane);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = lane[i] + lane[i + width];
  }
  return lane[0];
}

void RmsNorm(const float* in, const float* weight, float epsilon, std::int64_t n, float* out) {
  Vec squares = Vec::Zero();
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const Vec x = Vec::Load(in + i);
    squares = Vec::Fma(x, x, squares);
  }
  float sum = SumLanes(squares);
  for (std::int64_t j = i; j < n; ++j) sum = sum + in[j] * in[j];
  const float scale = 1.0F / __builtin_sqrtf(sum / static_cast<float>(n) + epsilon);
  for (std::int64_t j = 0; j < n; ++j) out[j] = in[j] * scale * weight[j];
}

/// e^x by 2^n * e^r, |r| <= ln(2)/2, a polynomial of degree 6 (relative error below 3e-7). Below -87 the result is 0.
inline Vec Exp(const Vec& x) {
  const Vec clamped = Vec::Max(Vec::Min(x, Vec::Broadcast(88.0F)), Vec::Broadcast(-87.0F));
  const Vec n = Vec::Round(clamped * Vec::Broadcast(1.44269504088896341F));
  Vec r = Vec::Fma(n, Vec::Broadcast(-0.693359375F), clamped);
  r = Vec::Fma(n, Vec::Broadcast(2.12194440e-4F), r);
  Vec p = Vec::Broadcast(1.9875691500e-4F);
  p = Vec::Fma(p, r, Vec::Broadcast(1.3981999507e-3F));
  p = Vec::Fma(p, r, Vec::Broadcast(8.3334519073e-3F));
  p = Vec::Fma(p, r, Vec::Broadcast(4.1665795894e-2F));
  p = Vec::Fma(p, r, Vec::Broadcast(1.6666665459e-1F));
  p = Vec::Fma(p, r, Vec::Broadcast(5.0000001201e-1F));
  p = Vec::Fma(p * r, r, r + Vec::Broadcast(1.0F));
  return Vec::ZeroWhereBelow(Vec::Scale2(p, n), x, -87.0F);
}

void SwiGlu(const float* gate, const float* up, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n; i += 16) {
    float g[16];
    float u[16];
    const auto left = static_cast<int>(n - i < 16 ? n - i : 16);
    for (int j = 0; j < 16; ++j) {
      g[j] = j < left ? gate[i + j] : 0.0F;
      u[j] = j < left ? up[i + j] : 0.0F;
    }
    const Vec x = Vec::Load(g);
    const Vec y = x / (Vec::Broadcast(1.0F) + Exp(Vec::Zero() - x)) * Vec::Load(u);
    float result[16];
    y.Store(result);
    for (int j = 0; j < left; ++j) out[i + j] = result[j];
  }
}

/// Tile `tile` of K as [dim][64] and of V as [64][padded dim], widened to f32; positions from `written` on are zero,
/// since a block's unwritten rest may hold anything.
void LoadKvTile(const AttentionTask& task, std::int64_t tile, int padded, float* k_tile, float* v_tile) {
  const int dim = task.head_dim;
  for (int j = 0; j < 64; ++j) {
    const std::int64_t position = tile * 64 + j;
    float* v = v_tile + j * padded;
    if (position >= task.written) {
      for (int d = 0; d < dim; ++d) k_tile[d * 64 + j] = 0.0F;
      for (int d = 0; d < padded; ++d) v[d] = 0.0F;
      continue;
    }
    const std::int64_t offset = position % 16 * dim;
    if (task.bf16) {
      const auto* k_in = reinterpret_cast<const std::uint16_t*>(task.blocks[position / 16] + task.k_offset) + offset;
      const auto* v_in = reinterpret_cast<const std::uint16_t*>(task.blocks[position / 16] + task.v_offset) + offset;
      for (int d = 0; d < dim; ++d) {
        k_tile[d * 64 + j] = WidenBf16(k_in[d]);
        v[d] = WidenBf16(v_in[d]);
      }
    } else {
      const auto* k_in = reinterpret_cast<const float*>(task.blocks[position / 16] + task.k_offset) + offset;
      const auto* v_in = reinterpret_cast<const float*>(task.blocks[position / 16] + task.v_offset) + offset;
      for (int d = 0; d < dim; ++d) {
        k_tile[d * 64 + j] = k_in[d];
        v[d] = v_in[d];
      }
    }
    for (int d = dim; d < padded; ++d) v[d] = 0.0F;
  }
}

/// What a row carries from tile to tile.
struct SoftmaxState {
  float max = -__builtin_inff();
  float sum = 0;
};

/// Scores of one row against the tile's 64 positions; -inf where the row does not see them.
inline void ScoreRow(const float* q, const float* k_tile, int dim, float scale, std::int64_t first, std::int64_t low,
                     std::int64_t high, float* scores) {
  Vec sum[4] = {Vec::Zero(), Vec::Zero(), Vec::Zero(), Vec::Zero()};
  for (int d = 0; d < dim; ++d) {
    const Vec x = Vec::Broadcast(q[d]);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[v] = Vec::Fma(x, Vec::Load(k_tile + d * 64 + 16 * v), sum[v]);
  }
  for (int v = 0; v < 4; ++v) (sum[v] * Vec::Broadcast(scale)).Store(scores + 16 * v);
  for (int j = 0; j < 64; ++j) {
    if (first + j < low || first + j > high) scores[j] = -__builtin_inff();
  }
}

/// One row, one tile: the online softmax step (Milakov and Gimelshein, 2018), then acc += p V.
inline void AttendRow(const float* scores, const float* v_tile, int padded, SoftmaxState& state, float* acc) {
  Vec highest = Vec::Load(scores);
  for (int v = 1; v < 4; ++v) highest = Vec::Max(highest, Vec::Load(scores + 16 * v));
  float lane[16];
  highest.Store(lane);
  float top = state.max;
  for (int i = 0; i < 16; ++i) top = lane[i] > top ? lane[i] : top;
  if (top == -__builtin_inff()) return;  // nothing seen yet
  float p[64];
  Vec total = Vec::Zero();
  for (int v = 0; v < 4; ++v) {
    const Vec e = Exp(Vec::Load(scores + 16 * v) - Vec::Broadcast(top));
    e.Store(p + 16 * v);
    total = total + e;
  }
  float correction[16];
  Exp(Vec::Broadcast(state.max - top)).Store(correction);
  state.sum = state.sum * correction[0] + SumLanes(total);
  state.max = top;
  const Vec keep = Vec::Broadcast(correction[0]);
  for (int d = 0; d < padded; d += 16) {
    Vec sum = Vec::Load(acc + d) * keep;
    for (int j = 0; j < 64; ++j) sum = Vec::Fma(Vec::Broadcast(p[j]), Vec::Load(v_tile + j * padded + d), sum);
    sum.Store(acc + d);
  }
}

void Attention(const AttentionTask& task) {
  const int padded = (task.head_dim + 15) / 16 * 16;
  float* k_tile = task.scratch;
  float* v_tile = k_tile + 64 * padded;
  float* acc = v_tile + 64 * padded;
  float* scores = acc + kAttentionRowsMax * padded;
  SoftmaxState state[kAttentionRowsMax];
  std::int64_t low = task.rows.position[0];
  std::int64_t high = low;
  for (int r = 0; r < task.rows.rows; ++r) {
    const std::int64_t position = task.rows.position[r];
    low = position < low ? position : low;
    high = position > high ? position : high;
    for (int d = 0; d < padded; ++d) acc[r * padded + d] = 0.0F;
  }
  const std::int64_t seen_from = task.window > 0 && low - task.window + 1 > 0 ? low - task.window + 1 : 0;
  for (std::int64_t tile = seen_from / 64; tile <= high / 64; ++tile) {
    LoadKvTile(task, tile, padded, k_tile, v_tile);
    for (int r = 0; r < task.rows.rows; ++r) {
      const std::int64_t position = task.rows.position[r];
      const std::int64_t first_seen = task.window > 0 ? position - task.window + 1 : 0;
      if (position < tile * 64 || first_seen > tile * 64 + 63) continue;
      ScoreRow(task.rows.q[r], k_tile, task.head_dim, task.scale, tile * 64, first_seen, position, scores);
      AttendRow(scores, v_tile, padded, state[r], acc + r * padded);
    }
  }
  for (int r = 0; r < task.rows.rows; ++r) {
    for (int d = 0; d < task.head_dim; ++d) task.rows.out[r][d] = acc[r * padded + d] / state[r].sum;
  }
}
