#pragma once

// Kernels over rows of activations. Included where the words of device code are defined (device_words.cuh, or
// the emulation that the tests have). Sums over a row have a fixed order that depends on its width alone.

constexpr int kRowThreads = 256;
/// Columns that a block of an operation without sums takes.
constexpr int kRowPiece = 4 * kRowThreads;

__device__ inline float WidenHalf(unsigned bits) {
  const unsigned sign = (bits & 0x8000U) << 16;
  const unsigned exponent = bits >> 10 & 0x1fU;
  const unsigned fraction = bits & 0x3ffU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return FloatOf(sign | 0x7f800000U | fraction << 13);
  return FloatOf(sign | (exponent + 112) << 23 | fraction << 13);
}

__device__ inline float WidenBf16(unsigned bits) {
  return FloatOf(bits << 16);
}

/// The columns of a piece that this thread takes.
template <typename Body>
__device__ inline void ForPiece(std::int64_t columns, const Body& body) {
  const std::int64_t first = std::int64_t{blockIdx.y} * kRowPiece;
  const std::int64_t end = first + kRowPiece < columns ? first + kRowPiece : columns;
  for (std::int64_t c = first + threadIdx.x; c < end; c += kRowThreads) body(c);
}

__global__ void __launch_bounds__(kRowThreads) EmbedKernel(const __grid_constant__ EmbedArguments a) {
  const std::int64_t row = a.ids[blockIdx.x];
  float* out = a.out.data + blockIdx.x * a.out.stride;
  const std::int64_t first = row * a.out.columns;
  ForPiece(a.out.columns, [&](std::int64_t c) {
    if (a.element == Element::kF32) {
      out[c] = static_cast<const float*>(a.table)[first + c];
    } else {
      const unsigned bits = static_cast<const std::uint16_t*>(a.table)[first + c];
      out[c] = a.element == Element::kBF16 ? WidenBf16(bits) : WidenHalf(bits);
    }
  });
}

__device__ inline float WarpSum(float x) {
  for (int mask = 16; mask > 0; mask /= 2) x += ShuffleXor(x, mask);
  return x;
}

/// Every thread gets the sum over the block's 8 warps.
__device__ inline float BlockSum(float x, float* scratch) {
  const float mine = WarpSum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = mine;
  SyncBlock();
  float sum = 0;
  for (int warp = 0; warp < kRowThreads / 32; ++warp) sum += scratch[warp];
  return sum;
}

/// Every thread gets the highest over the block's 8 warps; not of NaNs.
__device__ inline float BlockMax(float x, float* scratch) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = ShuffleXor(x, mask);
    x = other > x ? other : x;
  }
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  SyncBlock();
  for (int warp = 0; warp < kRowThreads / 32; ++warp) x = scratch[warp] > x ? scratch[warp] : x;
  return x;
}

/// A block a row. `out` may be `in` or `add`: the row's sum is complete before it is written.
__global__ void __launch_bounds__(kRowThreads) RmsNormKernel(const __grid_constant__ NormArguments a) {
  auto* scratch = reinterpret_cast<float*>(SharedMemory());
  float* in = a.in.data + blockIdx.x * a.in.stride;
  const float* add = a.add != nullptr ? a.add + blockIdx.x * a.add_stride : nullptr;
  float* out = a.out.data + blockIdx.x * a.out.stride;
  float squares = 0;
  for (std::int64_t c = threadIdx.x; c < a.in.columns; c += kRowThreads) {
    float x = in[c];
    if (add != nullptr) {
      x += add[c];
      in[c] = x;
    }
    squares = FusedMultiplyAdd(x, x, squares);
  }
  const float mean = BlockSum(squares, scratch) / static_cast<float>(a.in.columns);
  const float inverse = 1 / SquareRoot(mean + a.epsilon);
  for (std::int64_t c = threadIdx.x; c < a.in.columns; c += kRowThreads)
    out[c] = in[c] * inverse * a.weight[c];
}

/// A warp a head.
__global__ void __launch_bounds__(kRowThreads)
    RmsNormHeadsKernel(const __grid_constant__ NormHeadsArguments a) {
  const std::int64_t heads = a.x.columns / a.head_dim;
  const std::int64_t index = std::int64_t{blockIdx.x} * (kRowThreads / 32) + threadIdx.x / 32;
  if (index >= heads * a.x.rows) return;  // the warp as a whole
  float* x = a.x.data + index / heads * a.x.stride + index % heads * a.head_dim;
  const int lane = static_cast<int>(threadIdx.x % 32);
  float squares = 0;
  for (int d = lane; d < a.head_dim; d += 32) squares = FusedMultiplyAdd(x[d], x[d], squares);
  const float inverse = 1 / SquareRoot(WarpSum(squares) / static_cast<float>(a.head_dim) + a.epsilon);
  for (int d = lane; d < a.head_dim; d += 32) x[d] = x[d] * inverse * a.weight[d];
}

/// A block a row; a thread has one frequency and turns that pair of every head. The angle is of double
/// precision, as on the CPU.
__global__ void __launch_bounds__(kRowThreads) RopeKernel(const __grid_constant__ RopeArguments a) {
  const int half = a.head_dim / 2;
  float* row = a.x.data + blockIdx.x * a.x.stride;
  const auto position = static_cast<double>(a.positions[blockIdx.x]);
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kRowThreads) {
    double wide_sine = 0;
    double wide_cosine = 0;
    SineCosine(position * a.frequencies[i], wide_sine, wide_cosine);
    const auto sine = static_cast<float>(wide_sine);
    const auto cosine = static_cast<float>(wide_cosine);
    for (std::int64_t start = 0; start + a.head_dim <= a.x.columns; start += a.head_dim) {
      const float low = row[start + i];
      const float high = row[start + half + i];
      row[start + i] = low * cosine - high * sine;
      row[start + half + i] = high * cosine + low * sine;
    }
  }
}

/// x[i] = silu(y[i]) * y[width + i].
__global__ void __launch_bounds__(kRowThreads) SwiGluKernel(const __grid_constant__ PairArguments a) {
  float* out = a.x.data + blockIdx.x * a.x.stride;
  const float* gate = a.y + blockIdx.x * a.y_stride;
  ForPiece(a.x.columns,
           [&](std::int64_t c) { out[c] = gate[c] / (1 + Exponential(-gate[c])) * gate[a.x.columns + c]; });
}

__global__ void __launch_bounds__(kRowThreads) AddKernel(const __grid_constant__ PairArguments a) {
  float* x = a.x.data + blockIdx.x * a.x.stride;
  const float* y = a.y + blockIdx.x * a.y_stride;
  ForPiece(a.x.columns, [&](std::int64_t c) { x[c] += y[c]; });
}

__global__ void __launch_bounds__(kRowThreads) CopyRowsKernel(const __grid_constant__ PairArguments a) {
  float* x = a.x.data + blockIdx.x * a.x.stride;
  const float* y = a.y + blockIdx.x * a.y_stride;
  ForPiece(a.x.columns, [&](std::int64_t c) { x[c] = y[c]; });
}

__global__ void __launch_bounds__(kRowThreads) SumRanksKernel(const __grid_constant__ SumRanksArguments a) {
  float* out = a.out.data + blockIdx.x * a.out.stride;
  const float* parts = a.parts + blockIdx.x * a.out.columns;
  ForPiece(a.out.columns, [&](std::int64_t c) {
    float sums[kSegmentsMax];
    for (int rank = 0; rank < a.ranks; ++rank) sums[rank] = parts[rank * a.part_floats + c];
    for (int count = a.ranks; count > 1; count /= 2) {
      for (int i = 0; i < count / 2; ++i) sums[i] = sums[2 * i] + sums[2 * i + 1];
    }
    out[c] = sums[0];
  });
}

__global__ void __launch_bounds__(kRowThreads) GateRowsKernel(const __grid_constant__ PairArguments a) {
  float* x = a.x.data + blockIdx.x * a.x.stride;
  const float share = 1 / (1 + Exponential(-a.y[blockIdx.x * a.y_stride]));
  ForPiece(a.x.columns, [&](std::int64_t c) { x[c] *= share; });
}

/// target[i] = source[indices[i]].
__global__ void __launch_bounds__(kRowThreads) GatherRowsKernel(const __grid_constant__ PlaceArguments a) {
  float* out = a.target.data + blockIdx.x * a.target.stride;
  const float* in = a.source + a.indices[blockIdx.x] * a.source_stride;
  ForPiece(a.target.columns, [&](std::int64_t c) { out[c] = in[c]; });
}

/// target[indices[i]] += shares[i] * source[i]. Where an index may come twice one block goes through all i in
/// order.
__global__ void __launch_bounds__(kRowThreads) AddScaledRowsKernel(const __grid_constant__ PlaceArguments a) {
  const std::int64_t first = a.distinct ? blockIdx.x : 0;
  const std::int64_t end = a.distinct ? first + 1 : a.count;
  ForPiece(a.target.columns, [&](std::int64_t c) {
    for (std::int64_t i = first; i < end; ++i) {
      float* target = a.target.data + a.indices[i] * a.target.stride + c;
      *target += a.shares[i] * a.source[i * a.source_stride + c];
    }
  });
}

/// A thread a row: experts are tens, rows are few, and the order of choosing is the CPU's
/// (kernels/cpu/expert_choice.cc).
__global__ void __launch_bounds__(kRowThreads)
    ChooseExpertsKernel(const __grid_constant__ ChooseArguments a) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  if (row >= a.logits.rows) return;
  const float* logits = a.logits.data + row * a.logits.stride;
  std::int32_t* experts = a.experts + row * a.chosen;
  const auto count = static_cast<int>(a.logits.columns);
  int kept = 0;
  for (int expert = 0; expert < count; ++expert) {
    int place = kept;
    while (place > 0 && logits[expert] > logits[experts[place - 1]]) --place;
    if (place == a.chosen) continue;
    kept = kept < a.chosen ? kept + 1 : kept;
    for (int i = kept - 1; i > place; --i) experts[i] = experts[i - 1];
    experts[place] = expert;
  }
  const double highest = static_cast<double>(logits[experts[0]]);
  for (int i = 1; i < kept; ++i) {  // ascending by id
    const std::int32_t expert = experts[i];
    int place = i;
    for (; place > 0 && experts[place - 1] > expert; --place) experts[place] = experts[place - 1];
    experts[place] = expert;
  }
  double total = 0;
  if (a.normalize) {
    for (int i = 0; i < kept; ++i)
      total += WideExponential(static_cast<double>(logits[experts[i]]) - highest);
  } else {
    for (int expert = 0; expert < count; ++expert)
      total += WideExponential(static_cast<double>(logits[expert]) - highest);
  }
  for (int i = 0; i < kept; ++i) {
    a.shares[row * a.chosen + i] =
        static_cast<float>(WideExponential(static_cast<double>(logits[experts[i]]) - highest) / total);
  }
}

/// One element of a slot; `head` counts the values' heads after those of the keys.
__device__ inline void StoreKv(const WriteKvArguments& a, std::int64_t slot, int head, int element,
                               float value) {
  std::byte* block = a.base + slot / kBlockTokens * a.block_bytes;
  const std::int64_t at = (std::int64_t{head} * kBlockTokens + slot % kBlockTokens) * a.head_dim + element;
  if (a.bf16) {
    reinterpret_cast<std::uint16_t*>(block)[at] = static_cast<std::uint16_t>(PairOfBf16(value, 0) & 0xffffU);
  } else {
    reinterpret_cast<float*>(block)[at] = value;
  }
}

/// A block a token; a slot below 0 is of a row that nobody has.
__global__ void __launch_bounds__(kRowThreads) WriteKvKernel(const __grid_constant__ WriteKvArguments a) {
  const std::int64_t slot = a.slots[blockIdx.x];
  if (slot < 0) return;
  const std::int64_t row = a.sources[blockIdx.x];
  const int width = a.kv_heads * a.head_dim;
  for (int c = static_cast<int>(threadIdx.x); c < 2 * width; c += kRowThreads) {
    const int column = c % width;
    const float value = c < width ? a.k[row * a.k_stride + column] : a.v[row * a.v_stride + column];
    StoreKv(a, slot, c / a.head_dim, column % a.head_dim, value);
  }
}

/// A block a token: sines and cosines are computed once, in shared memory, and serve all heads. The same
/// operations as RopeKernel and WriteKvKernel.
__global__ void __launch_bounds__(kRowThreads)
    RopeWriteKvKernel(const __grid_constant__ RopeWriteArguments a) {
  if (a.kv.slots[blockIdx.x] < 0) return;
  const int dim = a.kv.head_dim;
  const int half = dim / 2;
  auto* sines = reinterpret_cast<float*>(SharedMemory());
  float* cosines = sines + half;
  const std::int64_t slot = a.kv.slots[blockIdx.x];
  const std::int64_t row = a.kv.sources[blockIdx.x];
  float* qkv = a.qkv.data + row * a.qkv.stride;
  const auto position = static_cast<double>(a.positions[row]);
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kRowThreads) {
    double sine = 0;
    double cosine = 0;
    SineCosine(position * a.frequencies[i], sine, cosine);
    sines[i] = static_cast<float>(sine);
    cosines[i] = static_cast<float>(cosine);
  }
  SyncBlock();
  const int turned = a.heads + a.kv.kv_heads;
  for (int pair = static_cast<int>(threadIdx.x); pair < turned * half; pair += kRowThreads) {
    const int head = pair / half;
    const int i = pair % half;
    const float low = qkv[head * dim + i];
    const float high = qkv[head * dim + half + i];
    const float first = low * cosines[i] - high * sines[i];
    const float second = high * cosines[i] + low * sines[i];
    if (head < a.heads) {
      qkv[head * dim + i] = first;
      qkv[head * dim + half + i] = second;
    } else {
      StoreKv(a.kv, slot, head - a.heads, i, first);
      StoreKv(a.kv, slot, head - a.heads, half + i, second);
    }
  }
  for (int c = static_cast<int>(threadIdx.x); c < a.kv.kv_heads * dim; c += kRowThreads)
    StoreKv(a.kv, slot, a.kv.kv_heads + c / dim, c % dim, qkv[turned * dim + c]);
}

/// The columns of a row that elements [k, k + count) of a packed one are; `get(i)` is 0 where it is padded.
struct PackedColumns {
  const float* in;
  int column;
  int end;

  __device__ PackedColumns(const PackRowsArguments& a, const float* row, int k) : in(row) {
    int segment = 0;
    while (k >= a.chunk_bounds[segment + 1] * kChunk) ++segment;
    column = a.bounds[segment] + k - a.chunk_bounds[segment] * kChunk;
    end = a.bounds[segment + 1];
  }
  __device__ float Get(int i) const { return column + i < end ? in[column + i] : 0; }
};

/// A thread has two neighbours of a packed row.
__global__ void __launch_bounds__(kRowThreads) PackRowsKernel(const __grid_constant__ PackRowsArguments a) {
  const float* in = a.in.data + blockIdx.x * a.in.stride;
  auto* out = static_cast<unsigned*>(a.out) + std::int64_t{blockIdx.x} * a.padded_k / 2;
  ForPiece(a.padded_k / 2, [&](std::int64_t pair) {
    const PackedColumns columns(a, in, static_cast<int>(2 * pair));
    out[pair] = PairOfBf16(columns.Get(0), columns.Get(1));
  });
}

/// A block a row: the greatest magnitude first, by which all are scaled (fp8.h). A thread has four
/// neighbours.
__global__ void __launch_bounds__(kRowThreads)
    PackRowsFp8Kernel(const __grid_constant__ PackRowsArguments a) {
  const float* in = a.in.data + blockIdx.x * a.in.stride;
  float greatest = 0;
  for (std::int64_t c = threadIdx.x; c < a.in.columns; c += kRowThreads) {
    const float magnitude = in[c] < 0 ? -in[c] : in[c];
    greatest = magnitude > greatest ? magnitude : greatest;
  }
  greatest = BlockMax(greatest, reinterpret_cast<float*>(SharedMemory()));
  const bool something = greatest > kFp8Nothing;
  const float inverse = something ? kFp8Max / greatest : 1;
  if (threadIdx.x == 0) a.scales[blockIdx.x] = something ? greatest / kFp8Max : 1;
  auto* out = static_cast<unsigned*>(a.out) + std::int64_t{blockIdx.x} * a.padded_k / 4;
  for (int four = static_cast<int>(threadIdx.x); four < a.padded_k / 4; four += kRowThreads) {
    const PackedColumns columns(a, in, 4 * four);
    unsigned bits = 0;
    for (int i = 0; i < 4; ++i) bits |= ByteOfFp8(columns.Get(i) * inverse) << (8 * i);
    out[four] = bits;
  }
}

__global__ void __launch_bounds__(kRowThreads) ScaleKernel(const __grid_constant__ ScaleArguments a) {
  float* x = a.x.data + blockIdx.x * a.x.stride;
  const float row = a.rows[blockIdx.x];
  ForPiece(a.x.columns, [&](std::int64_t c) { x[c] *= row * a.columns[c]; });
}

/// A block copies pieces by 16 bytes where all is aligned, else by one.
__global__ void __launch_bounds__(kRowThreads) StageKernel(const __grid_constant__ StageArguments a) {
  for (int i = static_cast<int>(blockIdx.x); i < a.count; i += static_cast<int>(gridDim.x)) {
    const PieceArgument piece = a.pieces[i];
    const std::byte* from = a.gather ? piece.address : a.slot + piece.offset;
    std::byte* to = a.gather ? a.slot + piece.offset : piece.address;
    const bool aligned =
        (reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to)) % 16 == 0;
    const std::int64_t wide = aligned ? piece.bytes / 16 : 0;
    for (std::int64_t w = threadIdx.x; w < wide; w += kRowThreads) {
      reinterpret_cast<Words*>(to)[w] = reinterpret_cast<const Words*>(from)[w];
    }
    for (std::int64_t b = wide * 16 + threadIdx.x; b < piece.bytes; b += kRowThreads) to[b] = from[b];
  }
}
