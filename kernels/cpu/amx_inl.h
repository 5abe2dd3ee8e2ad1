#pragma once

// Part of isa_amx.cc: matmuls of bf16 and int8 by tiles of 16 rows x 64 bytes (AMX). A tile of weights is 16
// rows of a panel, as they lie there. A block of activations is up to 32 rows, in chunks of 64 bytes of K:
// [chunk][32][64 bytes]. Each segment of K begins a new chunk, whose last one is padded with zeros; the rows
// of weights that they meet belong to whatever comes next in the matrix, and add nothing.

constexpr int kAmxRows = 32;
constexpr long kChunkBytes = kAmxRows * 64;
constexpr int kChunkSteps = 16;  // rows of a panel, 128 bytes each
/// Sums of a block: [row][32 columns], of 32 bits.
constexpr int kBlockSums = kAmxRows * kPanelColumns;

/// What the tile registers hold, on every thread and for good: all of them are 16 rows of 64 bytes. Rows that
/// a block lacks are whatever was packed there before; nobody reads their sums.
inline void ConfigureTiles() {
  struct alignas(64) {
    unsigned char palette = 1;
    unsigned char start_row = 0;
    unsigned char reserved[14] = {};
    unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
}

inline void UseTiles() {
  static thread_local bool ready = false;
  if (ready) return;
  ConfigureTiles();
  ready = true;
}

/// Asks for a part of what comes next with each chunk, so that it lies in the second-level cache when its
/// turn comes.
struct NextChunks {
  const char* at;
  long stride;  // bytes with each chunk

  inline __attribute__((always_inline)) void Prefetch() {
    for (long line = 0; line < stride; line += 64) __builtin_prefetch(at + line, 0, 2);
    at += stride;
  }
};

struct Bf16Tiles {
  static constexpr int kStepElements = 2;  // what a tile's bounds count, per row of a panel
  static inline __attribute__((always_inline)) void FirstHalf() {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  static inline __attribute__((always_inline)) void SecondHalf() {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
};

/// Signed bytes of the activations times the weights' bytes, which are offset by 128.
struct ByteTiles {
  static constexpr int kStepElements = 1;
  static inline __attribute__((always_inline)) void FirstHalf() {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
  }
  static inline __attribute__((always_inline)) void SecondHalf() {
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
};

/// Sums of one segment: [32 rows][32 columns]. `halves`: 16 rows each.
template <typename Tiles, int halves>
inline __attribute__((always_inline)) void SumSegment(const char* a, const char* b, long steps,
                                                      NextChunks& next, unsigned* sums) {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (halves == 2) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (long step = 0; step < steps; step += kChunkSteps, a += kChunkBytes, b += kChunkSteps * 128) {
    next.Prefetch();
    _tile_loadd(6, b, 128);
    _tile_loadd(4, a, 64);
    _tile_loadd(7, b + 64, 128);
    Tiles::FirstHalf();
    if constexpr (halves == 2) {
      _tile_loadd(5, a + kChunkBytes / 2, 64);
      Tiles::SecondHalf();
    }
  }
  _tile_stored(0, sums, 128);
  _tile_stored(1, sums + 16, 128);
  if constexpr (halves == 2) {
    _tile_stored(2, sums + kBlockSums / 2, 128);
    _tile_stored(3, sums + kBlockSums / 2 + 16, 128);
  }
}

inline long ChunksOf(long steps) {
  return (steps + kChunkSteps - 1) / kChunkSteps;
}

/// Sums of the 8 segments, one after the other: [segment][32 rows][32 columns].
template <typename Tiles, int halves>
__attribute__((noinline)) void SumSegments(const MatMulTile& tile, unsigned* sums) {
  const auto* a = static_cast<const char*>(tile.activations);
  const auto* panel = static_cast<const char*>(tile.panel);
  NextChunks next{static_cast<const char*>(tile.next),
                  tile.next != nullptr ? long{kChunkSteps} * tile.next_stride : 0};
  for (int segment = 0; segment < 8; ++segment) {
    const long first = tile.bounds[segment] / Tiles::kStepElements;
    const long steps = tile.bounds[segment + 1] / Tiles::kStepElements - first;
    SumSegment<Tiles, halves>(a, panel + first * 128, steps, next, sums);
    a += ChunksOf(steps) * kChunkBytes;
    sums += kBlockSums;
  }
}

/// Joins the segments by the tree and stores the outputs that exist. `Segment(i, row, column)` gives 16 sums
/// of segment i.
template <typename Segment>
inline void JoinSegments(const MatMulTile& tile, const Segment& segment) {
  for (int row = 0; row < tile.rows; ++row) {
    for (int column = 0; column < tile.columns; column += 16) {
      const auto at = [&](int i) __attribute__((always_inline)) {
        return segment(i, row, column);
      };
      const Vec sum[1] = {((at(0) + at(1)) + (at(2) + at(3))) + ((at(4) + at(5)) + (at(6) + at(7)))};
      StoreBlock<1, 1>(sum, tile, row, 1, column);
    }
  }
}

template <typename Tiles>
inline void SumAllSegments(const MatMulTile& tile, unsigned* sums) {
  UseTiles();
  if (tile.rows <= kAmxRows / 2) {
    SumSegments<Tiles, 1>(tile, sums);
  } else {
    SumSegments<Tiles, 2>(tile, sums);
  }
}

void MatMulBf16Amx(const MatMulTile& tile) {
  alignas(64) unsigned sums[8 * kBlockSums];
  SumAllSegments<Bf16Tiles>(tile, sums);
  JoinSegments(
      tile, [&](int i, int row, int column) __attribute__((always_inline)) {
        return Vec::Load(reinterpret_cast<const float*>(sums) + i * kBlockSums + row * kPanelColumns +
                         column);
      });
}

/// Chunks that the segments take; `bounds` count elements or steps, of `bytes` bytes each.
inline long Chunks(const std::int32_t* bounds, int bytes) {
  long chunks = 0;
  for (int segment = 0; segment < 8; ++segment)
    chunks += (long{bounds[segment + 1] - bounds[segment]} * bytes + 63) / 64;
  return chunks;
}

std::int64_t Bf16AmxBlockBytes(const std::int32_t* bounds) {
  return Chunks(bounds, 2) * kChunkBytes;
}

void PackRowsBf16Amx(const PackRowsTask& task) {
  auto* chunk = static_cast<char*>(task.out);
  for (int segment = 0; segment < 8; ++segment) {
    const long end =
        task.bounds[segment + 1] < task.columns ? task.bounds[segment + 1] : static_cast<long>(task.columns);
    for (long first = task.bounds[segment]; first < task.bounds[segment + 1];
         first += 32, chunk += kChunkBytes) {
      const int left = end - first < 32 ? static_cast<int>(end - first) : 32;
      for (int r = 0; r < task.rows; ++r) {
        const float* in = task.in + r * task.stride + first;
        const Vec low = left > 0 ? LoadF32(in, left) : Vec::Zero();
        const Vec high = left > 16 ? LoadF32(in + 16, left - 16) : Vec::Zero();
        const __m512bh pair = _mm512_cvtne2ps_pbh(high.v, low.v);
        __builtin_memcpy(chunk + r * 64, &pair, 64);
      }
    }
  }
}

/// Behind the chunks of a block of bytes: scales and the rows' -128 * sums, [segment][32] each.
std::int64_t Int8AmxBlockBytes(const std::int32_t* bounds) {
  return Chunks(bounds, 1) * kChunkBytes + std::int64_t{8} * kAmxRows * 8;
}

void PackRowsInt8Amx(const PackRowsTask& task) {
  auto* chunk = static_cast<char*>(task.out);
  auto* scales = reinterpret_cast<float*>(chunk + Chunks(task.bounds, 1) * kChunkBytes);
  auto* corrections = reinterpret_cast<int*>(scales + 8 * kAmxRows);
  for (int segment = 0; segment < 8; ++segment) {
    const long begin = task.bounds[segment];
    const long end = task.bounds[segment + 1];
    const long present = (end < task.columns ? end : task.columns) - begin;
    for (int r = 0; r < task.rows; ++r) {
      char* out = chunk + r * 64;
      ByteScale scale{0, 0};
      int sum = 0;
      for (long first = 0; first < end - begin; first += kByteChunk)
        __builtin_memset(out + first / kByteChunk * kChunkBytes, 0, kByteChunk);
      if (present > 0) {
        const float* in = task.in + r * task.stride + begin;
        scale = ScaleOf(in, present);
        sum = QuantizeSegment(in, present, scale.inverse, [&](long first, long, const signed char* bytes) {
          __builtin_memcpy(out + first / kByteChunk * kChunkBytes, bytes, kByteChunk);
        });
      }
      scales[segment * kAmxRows + r] = scale.scale;
      corrections[segment * kAmxRows + r] = -128 * sum;
    }
    chunk += (end - begin + kByteChunk - 1) / kByteChunk * kChunkBytes;
  }
}

/// The same f32 operations as every other set's: equal bits.
void MatMulInt8Amx(const MatMulTile& tile) {
  alignas(64) unsigned sums[8 * kBlockSums];
  SumAllSegments<ByteTiles>(tile, sums);
  const auto* behind = static_cast<const char*>(tile.activations) + Chunks(tile.bounds, 4) * kChunkBytes;
  const auto* scales = reinterpret_cast<const float*>(behind);
  const auto* corrections = reinterpret_cast<const int*>(scales + 8 * kAmxRows);
  const auto* weight_scales = reinterpret_cast<const float*>(static_cast<const char*>(tile.panel) +
                                                             long{tile.bounds[8]} * kPanelColumns * 4);
  JoinSegments(
      tile, [&](int i, int row, int column) __attribute__((always_inline)) {
        const __m512i products = _mm512_load_si512(sums + i * kBlockSums + row * kPanelColumns + column);
        const __m512i sum = _mm512_add_epi32(products, _mm512_set1_epi32(corrections[i * kAmxRows + row]));
        return DotBytes::ToFloat(sum) * Vec::Load(weight_scales + i * kPanelColumns + column) *
               Vec::Broadcast(scales[i * kAmxRows + row]);
      });
}
