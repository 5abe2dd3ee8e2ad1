#pragma once

// Part of inner_kernels_inl.h: products of 8-bit integers. Sums within a segment of K are exact in 32 bits,
// and what follows is the same f32 operations in the same order everywhere, so that every instruction set
// gives the same bits.

/// Steps of four bytes that a segment of `elements` takes.
inline long ByteSteps(long elements) {
  return (elements + 3) / 4;
}

/// Behind the bytes of a block of 12 packed rows: scales and the rows' -128 * sums, [segment][12] each.
struct ByteRows {
  const unsigned* dwords;
  const float* scales;
  const int* corrections;
};
inline ByteRows BytesOf(const MatMulTile& tile) {
  const auto* dwords = static_cast<const unsigned*>(tile.activations);
  const unsigned* behind = dwords + tile.bounds[8] * kTileRows;
  return {dwords, reinterpret_cast<const float*>(behind),
          reinterpret_cast<const int*>(behind + 8 * kTileRows)};
}

/// How the elements of one segment of one row become bytes: round(x * inverse), ties to even.
struct ByteScale {
  float scale;
  float inverse;
};

/// From the greatest magnitude, found by its bits so that a NaN counts as greater than any number. A segment
/// that is not finite becomes NaN as a whole; one that is next to nothing becomes 0.
inline ByteScale ScaleOf(const float* in, long count) {
  unsigned highest = 0;
  for (long i = 0; i < count; ++i) {
    unsigned bits = 0;
    __builtin_memcpy(&bits, in + i, 4);
    bits &= 0x7fffffffU;
    highest = bits > highest ? bits : highest;
  }
  if (highest >= 0x7f800000U) return {__builtin_nanf(""), 0};
  if (highest < 0x0c000000U) return {0, 0};  // below 1e-31
  float magnitude = 0;
  __builtin_memcpy(&magnitude, &highest, 4);
  return {magnitude / 127.0F, 127.0F / magnitude};
}

constexpr int kByteChunk = 64;

/// 64 elements to bytes; returns their sum. Adding 1.5 * 2^23 rounds to an integer that lies in the low bits.
inline int QuantizeChunk(const float* in, float inverse, signed char* out) {
  int sum = 0;
  int rounded[kByteChunk];
  for (int i = 0; i < kByteChunk; ++i) {
    const float shifted = in[i] * inverse + 12582912.0F;
    __builtin_memcpy(rounded + i, &shifted, 4);
    rounded[i] -= 0x4b400000;
    sum += rounded[i];
  }
  for (int i = 0; i < kByteChunk; ++i) out[i] = static_cast<signed char>(rounded[i]);
  return sum;
}

/// One segment of one row as bytes: `store(first, left, bytes)` for each 64 of them, `left` of which exist
/// and the others are 0. Returns their sum.
template <typename Store>
inline int QuantizeSegment(const float* in, long count, float inverse, const Store& store) {
  int sum = 0;
  for (long first = 0; first < count; first += kByteChunk) {
    float padded[kByteChunk];
    const float* source = in + first;
    const long left = count - first < kByteChunk ? count - first : kByteChunk;
    // inverse is 0 where the segment is not finite: NaN * 0 must not reach the rounding
    if (left < kByteChunk || inverse == 0) {
      for (int i = 0; i < kByteChunk; ++i) padded[i] = i < left && inverse != 0 ? source[i] : 0.0F;
      source = padded;
    }
    alignas(64) signed char bytes[kByteChunk];
    sum += QuantizeChunk(source, inverse, bytes);
    store(first, left, bytes);
  }
  return sum;
}

/// Steps of all segments; `bounds` are in elements.
inline long AllByteSteps(const std::int32_t* bounds) {
  long steps = 0;
  for (int segment = 0; segment < 8; ++segment) steps += ByteSteps(bounds[segment + 1] - bounds[segment]);
  return steps;
}

/// Of [step][12][4] signed bytes, then the scales [segment][12], then -128 * the sum of the bytes,
/// [segment][12] of 32 bits.
std::int64_t Int8BlockBytes(const std::int32_t* bounds) {
  return AllByteSteps(bounds) * kTileRows * 4 + std::int64_t{8} * kTileRows * 8;
}

void PackRowsInt8(const PackRowsTask& task) {
  const long steps = AllByteSteps(task.bounds);
  auto* dwords = static_cast<unsigned*>(task.out);
  auto* scales = reinterpret_cast<float*>(dwords + steps * kTileRows);
  auto* corrections = reinterpret_cast<int*>(scales + 8 * kTileRows);
  for (int segment = 0; segment < 8; ++segment) {
    const long begin = task.bounds[segment];
    const long end = task.bounds[segment + 1];
    const long present = (end < task.columns ? end : task.columns) - begin;
    for (int r = 0; r < kTileRows; ++r) {
      unsigned* out = dwords + r;
      ByteScale scale{0, 0};
      int sum = 0;
      if (r < task.rows && present > 0) {
        const float* in = task.in + r * task.stride + begin;
        scale = ScaleOf(in, present);
        sum =
            QuantizeSegment(in, present, scale.inverse, [&](long first, long left, const signed char* bytes) {
              for (long step = 0; step < ByteSteps(left); ++step)
                __builtin_memcpy(out + (first / 4 + step) * kTileRows, bytes + 4 * step, 4);
            });
      } else {
        for (long step = 0; step < ByteSteps(end - begin); ++step) out[step * kTileRows] = 0;
      }
      scales[segment * kTileRows + r] = scale.scale;
      corrections[segment * kTileRows + r] = -128 * sum;
    }
    dwords += ByteSteps(end - begin) * kTileRows;
  }
}

/// `rows` x 16*`vectors` outputs. Each segment: the exact sum, times the weight's scale, times the row's.
template <int rows, int vectors>
__attribute__((noinline)) void MatMulInt8Block(const MatMulTile& tile, int first_row, int stored,
                                               int column) {
  const ByteRows in = BytesOf(tile);
  const auto* panel = static_cast<const unsigned*>(tile.panel);
  const auto* weight_scales = reinterpret_cast<const float*>(panel + tile.bounds[8] * kPanelColumns);
  NextPanel<rows> next(tile, first_row == 0 && column == 0);
  SegmentTree<rows * vectors> tree;
  Vec acc[rows * vectors];
  for (int segment = 0; segment < 8; ++segment) {
    const int* corrections = in.corrections + segment * kTileRows + first_row;
    const float* scales = in.scales + segment * kTileRows + first_row;
    DotBytes::Sum sum[rows * vectors];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; ++i) sum[i] = DotBytes::Start(corrections[i / vectors]);
    const long end = tile.bounds[segment + 1];
    for (long step = tile.bounds[segment]; step < end; ++step) {
      next.Prefetch();
      const unsigned* weights = panel + step * kPanelColumns + column;
      const unsigned* a = in.dwords + step * kTileRows + first_row;
      DotBytes::Weights w[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) w[v] = DotBytes::Load(weights + 16 * v);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v)
          sum[r * vectors + v] = DotBytes::Accumulate(sum[r * vectors + v], w[v], a[r]);
      }
    }
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; ++i) {
      const Vec weight = Vec::Load(weight_scales + segment * kPanelColumns + column + 16 * (i % vectors));
      acc[i] = DotBytes::ToFloat(sum[i]) * weight * Vec::Broadcast(scales[i / vectors]);
    }
    tree.Join(segment, acc);
  }
  StoreBlock<rows, vectors>(acc, tile, first_row, stored, column);
}

struct MatMulInt8Rows {
  const MatMulTile& tile;
  int first_row;
  int stored;
  template <int rows>
  void Run() const {
    for (int column = 0; column < tile.columns; column += kColumnsPerTile) {
      MatMulInt8Block<rows, kColumnsPerTile / 16>(tile, first_row, stored, column);
    }
  }
};

void MatMulInt8(const MatMulTile& tile) {
  for (int row = 0; row < tile.rows; row += kRowsPerTile) {
    const int rows = tile.rows - row < kRowsPerTile ? tile.rows - row : kRowsPerTile;
    ForRows(rows, MatMulInt8Rows{tile, row, rows});
  }
}
