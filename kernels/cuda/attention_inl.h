#pragma once

// Attention over paged KV, for prompts and single tokens alike. A block has some rows (tokens times the query
// heads of one KV head, so that KV is read once for the group) and goes through tiles of 64 positions:
// scores, softmax with what the rows carry, weighted values. Spans of tiles begin afresh and are merged in
// order, by the block that has them all or by a second kernel where blocks share a sequence (split KV);
// either way with the same operations, so that a token's result does not depend on it.

constexpr int kAttentionThreads = 128;
/// Floats between two rows of scores: 8 lanes of 4 rows fall into 32 banks.
constexpr int kScorePitch = kTile + 8;
/// Rows whose softmax the block computes at a time, 8 lanes each.
constexpr int kSoftmaxRows = kAttentionThreads / 8;

constexpr float kNothing = -__builtin_inff();

/// What a row has seen so far, or in one span.
struct SoftmaxSums {
  float highest;
  float total;
};

/// By how much both sides of a merge shrink.
struct MergeFactors {
  float keep;
  float add;
  float highest;
};

__device__ inline MergeFactors FactorsOf(float before, float now) {
  const float highest = before > now ? before : now;
  if (highest == kNothing) return {1, 0, kNothing};
  return {Exponential(before - highest), Exponential(now - highest), highest};
}
__device__ inline float Merged(const MergeFactors& factors, float before, float now) {
  return before * factors.keep + now * factors.add;
}

/// Where a block's rows are, in shared memory.
template <int rows>
struct AttentionRows {
  SoftmaxSums span[rows];
  SoftmaxSums all[rows];
  float keep[rows];  // of the sums, when the next tile comes
};

/// A block's item, resolved.
struct AttentionWork {
  const AttentionArguments& a;
  AttentionItem item;
  SliceArgument slice;
  int kv_head;
  int highest;  // position that any row sees

  __device__ explicit AttentionWork(const AttentionArguments& arguments)
      : a(arguments),
        item(arguments.items[blockIdx.x]),
        slice(arguments.slices[item.slice]),
        kv_head(static_cast<int>(blockIdx.y)),
        highest(Position(item.rows - 1)) {}

  /// Rows beyond the last are treated as it, and not stored.
  __device__ int Row(int row) const { return item.first_row + (row < item.rows ? row : item.rows - 1); }
  __device__ int Position(int row) const { return slice.first_position + Row(row) / a.group; }
  /// Of a row's head, in a line of q or of the result.
  __device__ std::int64_t Column(int row) const {
    return std::int64_t{kv_head * a.group + Row(row) % a.group} * a.head_dim;
  }
  __device__ std::int64_t Line(int row) const { return slice.first_row + Row(row) / a.group; }
  __device__ int FirstTile() const {
    const int first = a.window > 0 && Position(0) >= a.window ? (Position(0) - a.window + 1) / kTile : 0;
    const int mine = item.first_span * kSpanTiles;
    return first > mine ? first : mine;
  }
  __device__ int EndTile() const {
    const int end = highest / kTile + 1;
    const int mine = (item.first_span + item.spans) * kSpanTiles;
    return end < mine ? end : mine;
  }
  /// The stored keys (half 0) or values (half 1) of a position that the slice has.
  __device__ const std::byte* Stored(int half, int position, int element_bytes) const {
    const std::int64_t block = a.blocks[slice.first_entry + position / kBlockTokens];
    const std::int64_t line = (half * a.kv_heads + kv_head) * kBlockTokens + position % kBlockTokens;
    return a.base + block * a.block_bytes + line * a.head_dim * element_bytes;
  }
};

/// Class bf16: tensor cores. `row_blocks` times 16 rows; heads of up to `width` dimensions, zeros beyond
/// their own.
template <int row_blocks, int width>
class TensorMath {
 public:
  static constexpr int kRows = 16 * row_blocks;
  static constexpr int kSums = row_blocks * (width / 32) * 4;  // a thread
  // Bytes of a row of queries or keys: 16 neighbouring bytes a thread, two rows to 128 bytes.
  static constexpr int kKeyPitch = width + 32;
  // And of values: eight rows of 16 bytes to different banks.
  static constexpr int kValuePitch = width + 8;
  static constexpr int kWeightPitch = kTile + 8;
  static constexpr int kSharedBytes =
      2 * (kRows * kKeyPitch + kTile * (kKeyPitch + kValuePitch) + kRows * kWeightPitch) +
      4 * kRows * kScorePitch;

  __device__ TensorMath(const AttentionWork& work, std::byte* shared)
      : work_(work),
        queries_(reinterpret_cast<std::uint16_t*>(shared)),
        keys_(queries_ + kRows * kKeyPitch),
        values_(keys_ + kTile * kKeyPitch),
        weights_(values_ + kTile * kValuePitch),
        scores_(reinterpret_cast<float*>(weights_ + kRows * kWeightPitch)) {
    Reset();
  }

  __device__ void Reset() {
#pragma unroll
    for (float& sum : sums_) sum = 0;
  }

  __device__ void LoadQueries() {
    const int dim = work_.a.head_dim;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * width / 2; i += kAttentionThreads) {
      const int row = i / (width / 2);
      const int d = i % (width / 2) * 2;
      const float* q = work_.a.q + work_.Line(row) * work_.a.q_stride + work_.Column(row);
      const float low = d < dim ? q[d] : 0;
      const float high = d + 1 < dim ? q[d + 1] : 0;
      *reinterpret_cast<unsigned*>(queries_ + row * kKeyPitch + d) = PairOfBf16(low, high);
    }
    // Beyond the head's dimensions keys and values are zero, once for all tiles.
    for (int i = static_cast<int>(threadIdx.x); i < kTile * width; i += kAttentionThreads) {
      if (i % width < dim) continue;
      keys_[i / width * kKeyPitch + i % width] = 0;
      values_[i / width * kValuePitch + i % width] = 0;
    }
  }

  __device__ void LoadKeys(int tile) {
    Load(0, tile, keys_, kKeyPitch);
  }
  __device__ void LoadValues(int tile) {
    Load(1, tile, values_, kValuePitch);
  }

  /// Each warp has 16 of the tile's positions.
  __device__ void Score(int) {
    const int warp = static_cast<int>(threadIdx.x / 32);
    const int group = static_cast<int>(threadIdx.x % 32 / 4);
    const int quarter = static_cast<int>(threadIdx.x % 4);
    float acc[row_blocks][2][4] = {};
    const int chunks = (work_.a.head_dim + kChunk - 1) / kChunk;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int at = chunk * kChunk + 8 * quarter;
      Words keys[2];
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        keys[n] = *reinterpret_cast<const Words*>(keys_ + (16 * warp + 8 * n + group) * kKeyPitch + at);
      }
#pragma unroll
      for (int m = 0; m < row_blocks; ++m) {
        const std::uint16_t* row = queries_ + (16 * m + group) * kKeyPitch + at;
        const Words low = *reinterpret_cast<const Words*>(row);
        const Words high = *reinterpret_cast<const Words*>(row + 8 * kKeyPitch);
#pragma unroll
        for (int n = 0; n < 2; ++n) MultiplyChunk(acc[m][n], low, high, keys[n]);
      }
    }
#pragma unroll
    for (int m = 0; m < row_blocks; ++m) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = 16 * m + group + e / 2 * 8;
          scores_[row * kScorePitch + 16 * warp + 8 * n + 2 * quarter + e % 2] = acc[m][n][e];
        }
      }
    }
  }

  __device__ float ScoreAt(int row, int position) const {
    return scores_[row * kScorePitch + position];
  }
  /// Keeps a weight as bf16; what it then is, so that the weights of a row add up to 1.
  __device__ float SetWeight(int row, int position, float weight) {
    const unsigned bits = PairOfBf16(weight, 0) & 0xffffU;
    weights_[row * kWeightPitch + position] = static_cast<std::uint16_t>(bits);
    return WidenBf16(bits);
  }

  /// Each warp has a quarter of the dimensions.
  __device__ void Weigh(int, const float* keep) {
    const int warp = static_cast<int>(threadIdx.x / 32);
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int group = lane / 4;
    const int quarter = lane % 4;
    ForEach([&](int row, int, int i) { sums_[i] *= keep[row]; });
#pragma unroll
    for (int step = 0; step < kTile / 16; ++step) {
      unsigned weights[row_blocks][4];
#pragma unroll
      for (int m = 0; m < row_blocks; ++m) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = 16 * m + group + e % 2 * 8;
          const int position = 16 * step + 2 * quarter + e / 2 * 8;
          weights[m][e] = *reinterpret_cast<const unsigned*>(weights_ + row * kWeightPitch + position);
        }
      }
#pragma unroll
      for (int pair = 0; pair < width / 64; ++pair) {
        const int position = 16 * step + lane / 8 % 2 * 8 + lane % 8;
        const int dim = warp * (width / 4) + 16 * pair + lane / 16 * 8;
        unsigned values[4];
        LoadTransposed(values, values_ + position * kValuePitch + dim);
#pragma unroll
        for (int m = 0; m < row_blocks; ++m) {
#pragma unroll
          for (int n = 0; n < 2; ++n) {
            const unsigned columns[2] = {values[2 * n], values[2 * n + 1]};
            float acc[4];
            float* sums = sums_ + (m * (width / 32) + 2 * pair + n) * 4;
#pragma unroll
            for (int e = 0; e < 4; ++e) acc[e] = sums[e];
            MultiplyAccumulate(acc, weights[m], columns);
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[e] = acc[e];
          }
        }
      }
    }
  }

  /// body(row, dimension, index of this thread's sum), for those that exist.
  template <typename Body>
  __device__ void ForEach(const Body& body) const {
    const int warp = static_cast<int>(threadIdx.x / 32);
    const int group = static_cast<int>(threadIdx.x % 32 / 4);
    const int quarter = static_cast<int>(threadIdx.x % 4);
#pragma unroll
    for (int i = 0; i < kSums; ++i) {
      const int m = i / (width / 8);
      const int n = i / 4 % (width / 32);
      body(16 * m + group + i % 4 / 2 * 8, warp * (width / 4) + 8 * n + 2 * quarter + i % 2, i);
    }
  }
  __device__ float& Sum(int i) {
    return sums_[i];
  }

 private:
  /// Positions after the last that anybody sees are zero, whatever lies there: a weight of 0 times NaN would
  /// not be.
  __device__ void Load(int half, int tile, std::uint16_t* target, int pitch) {
    const int dim = work_.a.head_dim;
    if (dim % 8 == 0) {
      const int pieces = dim / 8;
      for (int i = static_cast<int>(threadIdx.x); i < kTile * pieces; i += kAttentionThreads) {
        const int position = tile * kTile + i / pieces;
        const bool seen = position <= work_.highest;
        const std::byte* from = seen ? work_.Stored(half, position, 2) + i % pieces * 16 : work_.a.base;
        CopyAsync(target + i / pieces * pitch + i % pieces * 8, from, seen);
      }
    } else {
      for (int i = static_cast<int>(threadIdx.x); i < kTile * dim; i += kAttentionThreads) {
        const int position = tile * kTile + i / dim;
        std::uint16_t value = 0;
        if (position <= work_.highest) {
          value = reinterpret_cast<const std::uint16_t*>(work_.Stored(half, position, 2))[i % dim];
        }
        target[i / dim * pitch + i % dim] = value;
      }
    }
    CommitCopies();
  }

  const AttentionWork& work_;
  std::uint16_t* const queries_;
  std::uint16_t* const keys_;
  std::uint16_t* const values_;
  std::uint16_t* const weights_;
  float* const scores_;
  float sums_[kSums];
};

/// Class f32: plain f32 in order of dimension and position; keys and values are read where they lie.
class PlainMath {
 public:
  static constexpr int kRows = 16;
  static constexpr int kSums = kHeadDimMax / 8;
  static constexpr int kSharedBytes = 4 * kRows * (kHeadDimMax + kScorePitch);

  __device__ PlainMath(const AttentionWork& work, std::byte* shared)
      : work_(work), queries_(reinterpret_cast<float*>(shared)), scores_(queries_ + kRows * kHeadDimMax) {
    Reset();
  }
  __device__ void Reset() {
#pragma unroll
    for (float& sum : sums_) sum = 0;
  }
  __device__ void LoadQueries() {
    const int dim = work_.a.head_dim;
    for (int i = static_cast<int>(threadIdx.x); i < kRows * dim; i += kAttentionThreads) {
      queries_[i / dim * kHeadDimMax + i % dim] =
          work_.a.q[work_.Line(i / dim) * work_.a.q_stride + work_.Column(i / dim) + i % dim];
    }
  }
  __device__ void LoadKeys(int) {
    CommitCopies();
  }
  __device__ void LoadValues(int) {
    CommitCopies();
  }
  __device__ void Score(int tile) {
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kTile; i += kAttentionThreads) {
      const int position = tile * kTile + i % kTile;
      float score = 0;
      if (position <= work_.highest) {
        const auto* key = reinterpret_cast<const float*>(work_.Stored(0, position, 4));
        const float* query = queries_ + i / kTile * kHeadDimMax;
        for (int d = 0; d < work_.a.head_dim; ++d) score = FusedMultiplyAdd(query[d], key[d], score);
      }
      scores_[i / kTile * kScorePitch + i % kTile] = score;
    }
  }
  __device__ float ScoreAt(int row, int position) const {
    return scores_[row * kScorePitch + position];
  }
  __device__ float SetWeight(int row, int position, float weight) {
    scores_[row * kScorePitch + position] = weight;
    return weight;
  }
  __device__ void Weigh(int tile, const float* keep) {
    const int row = static_cast<int>(threadIdx.x) / 8;
    const int dim = work_.a.head_dim;
#pragma unroll
    for (float& sum : sums_) sum *= keep[row];
    const int left = work_.highest - tile * kTile + 1;
    for (int j = 0; j < (left < kTile ? left : kTile); ++j) {
      const float weight = scores_[row * kScorePitch + j];
      const auto* value = reinterpret_cast<const float*>(work_.Stored(1, tile * kTile + j, 4));
#pragma unroll
      for (int i = 0; i < kSums; ++i) {
        const int d = static_cast<int>(threadIdx.x) % 8 + 8 * i;
        if (d < dim) sums_[i] = FusedMultiplyAdd(weight, value[d], sums_[i]);
      }
    }
  }
  template <typename Body>
  __device__ void ForEach(const Body& body) const {
#pragma unroll
    for (int i = 0; i < kSums; ++i)
      body(static_cast<int>(threadIdx.x) / 8, static_cast<int>(threadIdx.x) % 8 + 8 * i, i);
  }
  __device__ float& Sum(int i) {
    return sums_[i];
  }

 private:
  const AttentionWork& work_;
  float* const queries_;
  float* const scores_;
  float sums_[kSums];
};

/// The tile's scores become weights; what the rows carry follows.
template <typename Math>
__device__ void TileSoftmax(const AttentionWork& work, int tile, Math& math,
                            AttentionRows<Math::kRows>& rows) {
  const int lane = static_cast<int>(threadIdx.x % 8);
#pragma unroll
  for (int first = 0; first < Math::kRows; first += kSoftmaxRows) {
    const int row = first + static_cast<int>(threadIdx.x / 8);
    const int high = work.Position(row) - tile * kTile;
    const int low = work.a.window > 0 ? high - work.a.window + 1 : 0;
    float scores[kTile / 8];
    float highest = kNothing;
#pragma unroll
    for (int i = 0; i < kTile / 8; ++i) {
      const int position = lane + 8 * i;
      scores[i] = position >= low && position <= high ? math.ScoreAt(row, position) * work.a.scale : kNothing;
      highest = highest > scores[i] ? highest : scores[i];
    }
#pragma unroll
    for (int mask = 1; mask < 8; mask *= 2) {
      const float other = ShuffleXor(highest, mask);
      highest = highest > other ? highest : other;
    }
    const SoftmaxSums before = rows.span[row];
    const float now = before.highest > highest ? before.highest : highest;
    float total = 0;
#pragma unroll
    for (int i = 0; i < kTile / 8; ++i) {
      const float weight = scores[i] == kNothing ? 0 : Exponential(scores[i] - now);
      total += math.SetWeight(row, lane + 8 * i, weight);
    }
#pragma unroll
    for (int mask = 1; mask < 8; mask *= 2) total += ShuffleXor(total, mask);
    SyncWarp();  // all have read what is written now
    if (lane == 0) {
      const float keep = now == kNothing ? 1 : Exponential(before.highest - now);
      rows.keep[row] = keep;
      rows.span[row] = {now, before.total * keep + total};
    }
  }
}

/// A span has ended: it goes where partial results go, or into what the block has so far.
template <typename Math>
__device__ void EndSpan(const AttentionWork& work, int span, Math& math, AttentionRows<Math::kRows>& rows,
                        float* all) {
  const AttentionArguments& a = work.a;
  SyncBlock();
  if (work.item.partial >= 0) {
    const std::int64_t first = work.item.partial + std::int64_t{span - work.item.first_span} * work.item.rows;
    const auto partial = [&](int row) {
      return a.partials + ((first + row) * a.kv_heads + work.kv_head) * (a.head_dim + 2);
    };
    math.ForEach([&](int row, int d, int i) {
      if (row < work.item.rows && d < a.head_dim) partial(row)[d] = math.Sum(i);
    });
    const int row = static_cast<int>(threadIdx.x);
    if (row < work.item.rows) {
      partial(row)[a.head_dim] = rows.span[row].highest;
      partial(row)[a.head_dim + 1] = rows.span[row].total;
    }
  } else {
    math.ForEach([&](int row, int, int i) {
      const MergeFactors factors = FactorsOf(rows.all[row].highest, rows.span[row].highest);
      float& sum = all[i * kAttentionThreads + static_cast<int>(threadIdx.x)];
      sum = Merged(factors, sum, math.Sum(i));
    });
    SyncBlock();
    const int row = static_cast<int>(threadIdx.x);
    if (row < Math::kRows) {
      const MergeFactors factors = FactorsOf(rows.all[row].highest, rows.span[row].highest);
      rows.all[row] = {factors.highest, Merged(factors, rows.all[row].total, rows.span[row].total)};
    }
  }
  SyncBlock();
  math.Reset();
  const int row = static_cast<int>(threadIdx.x);
  if (row < Math::kRows) rows.span[row] = {kNothing, 0};
}

template <typename Math>
constexpr int AttentionSharedBytes() {
  return Math::kSharedBytes + static_cast<int>(sizeof(AttentionRows<Math::kRows>)) +
         4 * Math::kSums * kAttentionThreads;
}

/// grid: items x KV heads.
template <typename Math>
__global__ void __launch_bounds__(kAttentionThreads)
    AttendKernel(const __grid_constant__ AttentionArguments a) {
  if (a.items[blockIdx.x].rows == 0) return;  // an item that fills a step's shape up
  const AttentionWork work(a);
  std::byte* const shared = SharedMemory();
  auto& rows = *reinterpret_cast<AttentionRows<Math::kRows>*>(shared + Math::kSharedBytes);
  auto* all = reinterpret_cast<float*>(shared + Math::kSharedBytes + sizeof rows);
  Math math(work, shared);
  if (static_cast<int>(threadIdx.x) < Math::kRows) {
    rows.span[threadIdx.x] = {kNothing, 0};
    rows.all[threadIdx.x] = {kNothing, 0};
  }
  for (int i = 0; i < Math::kSums; ++i) all[i * kAttentionThreads + static_cast<int>(threadIdx.x)] = 0;
  const int begin = work.FirstTile();
  const int end = work.EndTile();
  math.LoadQueries();
  math.LoadKeys(begin);
  math.LoadValues(begin);
  for (int tile = begin; tile < end; ++tile) {
    const bool last = tile + 1 == end;
    WaitCopies<1>();
    SyncBlock();  // the keys are there
    math.Score(tile);
    SyncBlock();
    last ? CommitCopies() : math.LoadKeys(tile + 1);
    TileSoftmax(work, tile, math, rows);
    WaitCopies<1>();
    SyncBlock();  // the values are there, and the weights
    math.Weigh(tile, rows.keep);
    SyncBlock();
    last ? CommitCopies() : math.LoadValues(tile + 1);
    if (last || (tile + 1) % kSpanTiles == 0) EndSpan(work, tile / kSpanTiles, math, rows, all);
  }
  if (work.item.partial >= 0) return;
  SyncBlock();
  math.ForEach([&](int row, int d, int i) {
    if (row >= work.item.rows || d >= a.head_dim) return;
    a.out[work.Line(row) * a.out_stride + work.Column(row) + d] =
        all[i * kAttentionThreads + static_cast<int>(threadIdx.x)] / rows.all[row].total;
  });
}

/// Merges the spans of rows that several blocks attended for. grid: items x KV heads.
__global__ void __launch_bounds__(kAttentionThreads)
    CombineKernel(const __grid_constant__ AttentionArguments a) {
  const CombineItem item = a.combines[blockIdx.x];
  const SliceArgument slice = a.slices[item.slice];
  const std::int64_t kv_head = blockIdx.y;
  for (int i = static_cast<int>(threadIdx.x); i < item.rows * a.head_dim; i += kAttentionThreads) {
    const int row = i / a.head_dim;
    const int d = i % a.head_dim;
    SoftmaxSums all{kNothing, 0};
    float sum = 0;
    for (int span = 0; span < item.spans; ++span) {
      const std::int64_t line = item.partial + std::int64_t{span} * item.rows + row;
      const float* partial = a.partials + (line * a.kv_heads + kv_head) * (a.head_dim + 2);
      const MergeFactors factors = FactorsOf(all.highest, partial[a.head_dim]);
      sum = Merged(factors, sum, partial[d]);
      all = {factors.highest, Merged(factors, all.total, partial[a.head_dim + 1])};
    }
    const int packed = item.first_row + row;
    const std::int64_t head = kv_head * a.group + packed % a.group;
    a.out[(slice.first_row + packed / a.group) * a.out_stride + head * a.head_dim + d] = sum / all.total;
  }
}
