#pragma once

// Matrix products. Of class bf16: by the tensor cores' m16n8k16, weights as the 16 rows of a fragment,
// activations as the 8 columns. Each output is summed over a segment of K in chunks of 32, two steps a chunk,
// from zero; segments are joined by the tree of backend.h. All kernels here take the same steps for an
// output, so that they give the same bits.
//
// Which k a step takes is ours to choose, as long as weights and activations agree: a thread takes 16
// neighbouring bytes (8 k) of a row for both steps, which needs one wide load and no shuffling.

/// Sum of 2^h values, `stride` apart, by the tree.
__device__ inline float TreeOf2(const float* v, std::int64_t stride) {
  return v[0] + v[stride];
}
__device__ inline float TreeOf4(const float* v, std::int64_t stride) {
  return TreeOf2(v, stride) + TreeOf2(v + 2 * stride, stride);
}
__device__ inline float Tree(const float* v, std::int64_t stride, int count) {
  if (count == 1) return v[0];
  if (count == 2) return TreeOf2(v, stride);
  if (count == 4) return TreeOf4(v, stride);
  return TreeOf4(v, stride) + TreeOf4(v + 4 * stride, stride);
}

/// acc += a chunk of 16 outputs x a chunk of 8 rows.
__device__ inline void MultiplyChunk(float (&acc)[4], const Words& low, const Words& high,
                                     const Words& rows) {
  const unsigned first[4] = {low.x, high.x, low.y, high.y};
  const unsigned first_rows[2] = {rows.x, rows.y};
  MultiplyAccumulate(acc, first, first_rows);
  const unsigned second[4] = {low.z, high.z, low.w, high.w};
  const unsigned second_rows[2] = {rows.z, rows.w};
  MultiplyAccumulate(acc, second, second_rows);
}

constexpr int kStreamOutputs = 16;
/// Floats between two columns of partial sums in shared memory; odd, so that they fall into different banks.
constexpr int kStreamPitch = kStreamOutputs + 1;
/// Chunks of weights that a warp has in flight.
constexpr int kStreamDepth = 4;

/// Few rows: memory is the limit. A block has 16 outputs, each of its warps one segment; weights go from
/// memory to registers.
template <int row_blocks>
__global__ void __launch_bounds__(32 * kSegmentsMax)
    MatMulStreamKernel(const __grid_constant__ MatMulArguments a) {
  auto* sums = reinterpret_cast<float*>(SharedMemory());  // [segment][row][kStreamPitch]
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int group = static_cast<int>(threadIdx.x % 32 / 4);
  const int quarter = static_cast<int>(threadIdx.x % 4);
  const int first = static_cast<int>(blockIdx.x) * kStreamOutputs;
  // Outputs and rows beyond the last repeat it, and are not stored.
  const auto weights = [&](int output) {
    const std::int64_t index = output < a.outputs ? output : a.outputs - 1;
    return static_cast<const std::uint16_t*>(a.weight) + index * a.weight_stride + 8 * quarter;
  };
  const std::uint16_t* low = weights(first + group);
  const std::uint16_t* high = weights(first + group + 8);
  const std::uint16_t* rows[row_blocks];
#pragma unroll
  for (int b = 0; b < row_blocks; ++b) {
    const std::int64_t row = 8 * b + group < a.rows ? 8 * b + group : a.rows - 1;
    rows[b] = static_cast<const std::uint16_t*>(a.in) + row * a.in_stride + 8 * quarter;
  }
  float acc[row_blocks][4] = {};
  const int end = a.bounds[warp + 1];
  for (int chunk = a.bounds[warp]; chunk < end; chunk += kStreamDepth) {
    Words in_low[kStreamDepth];
    Words in_high[kStreamDepth];
#pragma unroll
    for (int i = 0; i < kStreamDepth; ++i) {
      if (chunk + i >= end) continue;
      in_low[i] = LoadOnce(low + (chunk + i) * kChunk);
      in_high[i] = LoadOnce(high + (chunk + i) * kChunk);
    }
#pragma unroll
    for (int i = 0; i < kStreamDepth; ++i) {
      if (chunk + i >= end) continue;
#pragma unroll
      for (int b = 0; b < row_blocks; ++b) {
        const Words x = *reinterpret_cast<const Words*>(rows[b] + (chunk + i) * kChunk);
        MultiplyChunk(acc[b], in_low[i], in_high[i], x);
      }
    }
  }
  constexpr int kRows = 8 * row_blocks;
#pragma unroll
  for (int b = 0; b < row_blocks; ++b) {
    for (int e = 0; e < 4; ++e) {
      const int row = 8 * b + 2 * quarter + e % 2;
      sums[(warp * kRows + row) * kStreamPitch + group + e / 2 * 8] = acc[b][e];
    }
  }
  SyncBlock();
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kStreamOutputs; i += 32 * a.segments) {
    const int row = i / kStreamOutputs;
    const int output = i % kStreamOutputs;
    if (row >= a.rows || first + output >= a.outputs) continue;
    a.out[row * a.out_stride + first + output] =
        Tree(sums + row * kStreamPitch + output, kRows * kStreamPitch, a.segments);
  }
}

/// Sums of segments that arrive in order, and the places where what waits for its right neighbour lies: the
/// first level in registers, the second in shared memory, the third where the result will be. Only 8 segments
/// need a third.
template <typename Shape>
struct TileSums {
  float acc[Shape::kBlocksN][Shape::kBlocksM][4];
  float waiting[Shape::kBlocksN][Shape::kBlocksM][4];
};

/// A block's share of a product: kOutputs x kRows, by kWarpsN x kWarpsM warps.
template <int outputs, int rows, int warps_n, int warps_m>
struct TileShape {
  static constexpr int kOutputs = outputs;
  static constexpr int kRows = rows;
  static constexpr int kWarpsM = warps_m;
  static constexpr int kThreads = 32 * warps_n * warps_m;
  static constexpr int kBlocksN = outputs / warps_n / 16;
  static constexpr int kBlocksM = rows / warps_m / 8;
  static constexpr int kStages = 3;
  static constexpr int kStageElements = (outputs + rows) * kChunk;
  static constexpr int kSharedBytes = kStages * kStageElements * 2 + outputs * rows * 4;
};
using LargeTile = TileShape<128, 128, 2, 4>;
using SmallTile = TileShape<64, 64, 2, 2>;

template <typename Shape>
struct MatMulTile {
  const MatMulArguments& a;
  const int first_row = static_cast<int>(blockIdx.x) * Shape::kRows;
  const int first_output = static_cast<int>(blockIdx.y) * Shape::kOutputs;
  std::uint16_t* const stages = reinterpret_cast<std::uint16_t*>(SharedMemory());
  float* const level = reinterpret_cast<float*>(stages + Shape::kStages * Shape::kStageElements);
  const int group = static_cast<int>(threadIdx.x % 32 / 4);
  const int quarter = static_cast<int>(threadIdx.x % 4);
  const int warp_output = static_cast<int>(threadIdx.x / 32) / Shape::kWarpsM * Shape::kBlocksN * 16;
  const int warp_row = static_cast<int>(threadIdx.x / 32) % Shape::kWarpsM * Shape::kBlocksM * 8;

  /// A chunk of the block's outputs and rows, side by side: 64 bytes each.
  __device__ void Load(int chunk, int stage) const {
    std::uint16_t* target = stages + stage * Shape::kStageElements;
    for (int i = static_cast<int>(threadIdx.x); i < (Shape::kOutputs + Shape::kRows) * 4;
         i += Shape::kThreads) {
      const bool weight = i < Shape::kOutputs * 4;
      const int line = weight ? i / 4 : i / 4 - Shape::kOutputs;
      const std::int64_t index = weight ? first_output + line : first_row + line;
      const bool there = index < (weight ? a.outputs : a.rows);
      const auto* source = static_cast<const std::uint16_t*>(weight ? a.weight : a.in);
      if (there) source += index * (weight ? a.weight_stride : a.in_stride) + chunk * kChunk + i % 4 * 8;
      CopyAsync(target + i * 8, source, there);
    }
  }

  __device__ void Multiply(int stage, TileSums<Shape>& sums) const {
    const std::uint16_t* weights = stages + stage * Shape::kStageElements;
    const std::uint16_t* inputs = weights + Shape::kOutputs * kChunk;
    Words rows[Shape::kBlocksM];
#pragma unroll
    for (int m = 0; m < Shape::kBlocksM; ++m) {
      rows[m] = *reinterpret_cast<const Words*>(inputs + (warp_row + 8 * m + group) * kChunk + 8 * quarter);
    }
#pragma unroll
    for (int n = 0; n < Shape::kBlocksN; ++n) {
      const std::uint16_t* at = weights + (warp_output + 16 * n + group) * kChunk + 8 * quarter;
      const Words low = *reinterpret_cast<const Words*>(at);
      const Words high = *reinterpret_cast<const Words*>(at + 8 * kChunk);
#pragma unroll
      for (int m = 0; m < Shape::kBlocksM; ++m) MultiplyChunk(sums.acc[n][m], low, high, rows[m]);
    }
  }

  /// Where this thread's element lies in the result; null beyond it.
  __device__ float* Place(int n, int m, int e) const {
    const int output = first_output + warp_output + 16 * n + group + e / 2 * 8;
    const int row = first_row + warp_row + 8 * m + 2 * quarter + e % 2;
    if (output >= a.outputs || row >= a.rows) return nullptr;
    if (a.splits == 1) return a.out + row * a.out_stride + output;
    return a.partial + (std::int64_t{blockIdx.z} * a.rows + row) * a.outputs + output;
  }

  /// `sums.acc` is the sum of segment `index` of this block's `count`; after the last it is the whole.
  __device__ void Join(int index, int count, TileSums<Shape>& sums) const {
    const bool last = index + 1 == count;
#pragma unroll
    for (int n = 0; n < Shape::kBlocksN; ++n) {
#pragma unroll
      for (int m = 0; m < Shape::kBlocksM; ++m) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float& sum = sums.acc[n][m][e];
          float& first = sums.waiting[n][m][e];
          float& second =
              level[((n * Shape::kBlocksM + m) * 4 + e) * Shape::kThreads + static_cast<int>(threadIdx.x)];
          float* const place = Place(n, m, e);
          if ((index & 1) == 0 && !last) {
            first = sum;
            continue;
          }
          if ((index & 1) != 0) sum = first + sum;
          if ((index & 2) == 0 && !last) {
            second = sum;
            continue;
          }
          if ((index & 2) != 0) sum = second + sum;
          if (place == nullptr) continue;
          *place = (index & 4) != 0 ? *place + sum : sum;
        }
      }
    }
  }
};

/// Many rows: a block has an output tile, and goes through its split's segments with loads two chunks ahead.
template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    MatMulTileKernel(const __grid_constant__ MatMulArguments a) {
  const MatMulTile<Shape> tile{a};
  const int segments = a.segments / a.splits;
  const int first_segment = static_cast<int>(blockIdx.z) * segments;
  const int begin = a.bounds[first_segment];
  const int end = a.bounds[first_segment + segments];
  TileSums<Shape> sums;
  int next = begin;
  const auto load = [&] {
    if (next < end) tile.Load(next, (next - begin) % Shape::kStages);
    ++next;
    CommitCopies();
  };
  for (int i = 0; i < Shape::kStages - 1; ++i) load();
  int chunk = begin;
  for (int segment = 0; segment < segments; ++segment) {
#pragma unroll
    for (int n = 0; n < Shape::kBlocksN; ++n) {
#pragma unroll
      for (int m = 0; m < Shape::kBlocksM; ++m) {
#pragma unroll
        for (int e = 0; e < 4; ++e) sums.acc[n][m][e] = 0;
      }
    }
    for (const int stop = a.bounds[first_segment + segment + 1]; chunk < stop; ++chunk) {
      WaitCopies<Shape::kStages - 2>();
      SyncBlock();  // the chunk is there for all, and nobody reads the stage that is loaded next
      load();
      tile.Multiply((chunk - begin) % Shape::kStages, sums);
    }
    tile.Join(segment, segments, sums);
  }
}

/// Results of splits by the tree.
__global__ void __launch_bounds__(kRowThreads) JoinSplitsKernel(const __grid_constant__ MatMulArguments a) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t apart = std::int64_t{a.rows} * a.outputs;
  ForPiece(a.outputs, [&](std::int64_t c) {
    a.out[row * a.out_stride + c] = Tree(a.partial + row * a.outputs + c, apart, a.splits);
  });
}

constexpr int kF32Tile = 64;
constexpr int kF32Step = 16;
constexpr int kF32Pitch = kF32Tile + 4;
constexpr int kF32SharedBytes = 2 * kF32Step * kF32Pitch * 4;

/// Class f32: fused multiply-adds of f32 in order of k, for exactness rather than speed. 64 outputs x 64 rows
/// a block, 4 x 4 a thread.
__global__ void __launch_bounds__(256) MatMulF32Kernel(const __grid_constant__ MatMulArguments a) {
  auto* weights = reinterpret_cast<float*>(SharedMemory());  // [k][output]
  float* inputs = weights + kF32Step * kF32Pitch;            // [k][row]
  const int first_row = static_cast<int>(blockIdx.x) * kF32Tile;
  const int first_output = static_cast<int>(blockIdx.y) * kF32Tile;
  const int my_output = static_cast<int>(threadIdx.x) % 16 * 4;
  const int my_row = static_cast<int>(threadIdx.x) / 16 * 4;
  float levels[3][16] = {};
  float acc[16];
  for (int segment = 0; segment < a.segments; ++segment) {
#pragma unroll
    for (float& sum : acc) sum = 0;
    const int end = a.bounds[segment + 1];
    for (int k = a.bounds[segment]; k < end; k += kF32Step) {
      SyncBlock();
      for (int i = static_cast<int>(threadIdx.x); i < kF32Tile * kF32Step; i += 256) {
        const int line = i / kF32Step;
        const int column = k + i % kF32Step;
        const std::int64_t output = first_output + line;
        const std::int64_t row = first_row + line;
        weights[i % kF32Step * kF32Pitch + line] =
            output < a.outputs && column < end
                ? static_cast<const float*>(a.weight)[output * a.weight_stride + column]
                : 0;
        inputs[i % kF32Step * kF32Pitch + line] =
            row < a.rows && column < end ? static_cast<const float*>(a.in)[row * a.in_stride + column] : 0;
      }
      SyncBlock();
      for (int step = 0; step < kF32Step; ++step) {
#pragma unroll
        for (int i = 0; i < 16; ++i) {
          acc[i] = FusedMultiplyAdd(weights[step * kF32Pitch + my_output + i % 4],
                                    inputs[step * kF32Pitch + my_row + i / 4], acc[i]);
        }
      }
    }
    // What waits for its right neighbour stays at its level; after the last segment nothing does.
    const int from = segment + 1 == a.segments ? 3 : 0;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      bool waits = false;
#pragma unroll
      for (int height = 0; height < 3; ++height) {
        if ((segment >> height & 1) != 0 && !waits) acc[i] = levels[height][i] + acc[i];
        if ((segment >> height & 1) == 0 && !waits && from == 0) {
          levels[height][i] = acc[i];
          waits = true;
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    const int output = first_output + my_output + i % 4;
    const int row = first_row + my_row + i / 4;
    if (output < a.outputs && row < a.rows) a.out[row * a.out_stride + output] = acc[i];
  }
}
