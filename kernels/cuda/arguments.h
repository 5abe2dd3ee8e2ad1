#pragma once

#include <cstddef>
#include <cstdint>

/// What the kernels take: plain numbers and addresses of device memory, so that the compiler of device code
/// sees no library of the host's. Compared whole: a step that asks for the same is the same step.
namespace baton::kernels::cuda {

/// K elements that the innermost step of a bf16 matmul takes; segments of K are padded to it.
inline constexpr int kChunk = 32;
/// Segments of a matmul's K, at most.
inline constexpr int kSegmentsMax = 8;
/// Positions of an attention tile, and tiles of a *span*: within a span tiles follow each other, spans are
/// merged in order. A numerics constant, as the tile is; 256 positions let one sequence of 4,096 keep 16
/// blocks a KV head busy.
inline constexpr int kTile = 64;
inline constexpr int kSpanTiles = 4;
/// Positions of a KV block.
inline constexpr int kBlockTokens = 16;
/// The greatest number of fp8, and the greatest magnitude of a row that is taken for nothing (fp8.h).
inline constexpr float kFp8Max = 448;
inline constexpr float kFp8Nothing = 1e-30F;
/// The largest head that attention takes.
inline constexpr int kHeadDimMax = 256;

enum class Element : int { kF32, kBF16, kF16, kFp8 };

/// f32 activations, rows `stride` floats apart.
struct RowsArgument {
  float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
  friend bool operator==(const RowsArgument&, const RowsArgument&) = default;
};

struct EmbedArguments {
  const void* table = nullptr;  // [row][columns]
  Element element = Element::kF32;
  const std::int32_t* ids = nullptr;
  RowsArgument out;
  friend bool operator==(const EmbedArguments&, const EmbedArguments&) = default;
};

/// in += add, where there is one; out = norm(in).
struct NormArguments {
  RowsArgument in;
  const float* add = nullptr;
  std::int64_t add_stride = 0;
  const float* weight = nullptr;
  float epsilon = 0;
  RowsArgument out;
  friend bool operator==(const NormArguments&, const NormArguments&) = default;
};

struct NormHeadsArguments {
  RowsArgument x;
  int head_dim = 0;
  const float* weight = nullptr;
  float epsilon = 0;
  friend bool operator==(const NormHeadsArguments&, const NormHeadsArguments&) = default;
};

struct RopeArguments {
  RowsArgument x;
  int head_dim = 0;
  const std::int32_t* positions = nullptr;
  const double* frequencies = nullptr;
  friend bool operator==(const RopeArguments&, const RopeArguments&) = default;
};

/// out = f(x, y), by the operation that is launched.
struct PairArguments {
  RowsArgument x;
  const float* y = nullptr;
  std::int64_t y_stride = 0;  // 0: one row for all
  friend bool operator==(const PairArguments&, const PairArguments&) = default;
};

struct PlaceArguments {
  RowsArgument target;
  const float* source = nullptr;
  std::int64_t source_stride = 0;
  const std::int64_t* indices = nullptr;
  const float* shares = nullptr;
  std::int64_t count = 0;
  bool distinct = false;  // no index comes twice
  friend bool operator==(const PlaceArguments&, const PlaceArguments&) = default;
};

struct ChooseArguments {
  RowsArgument logits;
  int chosen = 0;
  bool normalize = false;
  std::int32_t* experts = nullptr;  // [row][chosen]
  float* shares = nullptr;
  friend bool operator==(const ChooseArguments&, const ChooseArguments&) = default;
};

/// Row `sources[i]` of k and v goes to slot `slots[i]`: block * kBlockTokens + position within it; below 0:
/// nowhere.
struct WriteKvArguments {
  std::byte* base = nullptr;
  std::int64_t block_bytes = 0;
  int kv_heads = 0;
  int head_dim = 0;
  bool bf16 = false;
  const float* k = nullptr;
  std::int64_t k_stride = 0;
  const float* v = nullptr;
  std::int64_t v_stride = 0;
  const std::int64_t* slots = nullptr;
  const std::int32_t* sources = nullptr;
  std::int64_t count = 0;
  friend bool operator==(const WriteKvArguments&, const WriteKvArguments&) = default;
};

/// Rows of queries, keys and values side by side: queries and keys turned by their positions, the queries in
/// place, the keys on their way to the arena with the values.
struct RopeWriteArguments {
  RowsArgument qkv;
  int heads = 0;
  const std::int32_t* positions = nullptr;  // by row
  const double* frequencies = nullptr;
  WriteKvArguments kv;  // but `k` and `v`
  friend bool operator==(const RopeWriteArguments&, const RopeWriteArguments&) = default;
};

/// out = the sum of the ranks' rows, which lie one rank after another without gaps, by the tree of
/// communicator.h.
struct SumRanksArguments {
  const float* parts = nullptr;
  std::int64_t part_floats = 0;  // of a rank
  int ranks = 0;                 // 1, 2, 4 or 8
  RowsArgument out;
  friend bool operator==(const SumRanksArguments&, const SumRanksArguments&) = default;
};

/// The `count` first of each row by falling value.
struct HighestArguments {
  RowsArgument in;
  int count = 0;
  std::int32_t* columns = nullptr;  // [row][count]
  float* values = nullptr;
  friend bool operator==(const HighestArguments&, const HighestArguments&) = default;
};

/// How a row's column is drawn (RowDraw of backend.h), and what has come of it.
struct DrawRequest {
  double temperature = 0;  // 0: the row is not drawn from
  double least = 0;        // weights that count
  double uniform = 0;
  friend bool operator==(const DrawRequest&, const DrawRequest&) = default;
};
struct DrawResult {
  double total = 0;
  std::int32_t column = -1;
  std::int32_t padding = 0;
};
struct DrawArguments {
  RowsArgument in;
  const DrawRequest* requests = nullptr;  // [row]
  DrawResult* results = nullptr;
  friend bool operator==(const DrawArguments&, const DrawArguments&) = default;
};

/// f32 rows as bf16, each segment of the columns padded with zeros to whole chunks. As fp8 where there are
/// scales: a row's are its elements over its scale.
struct PackRowsArguments {
  RowsArgument in;
  void* out = nullptr;  // [row][padded_k]
  float* scales = nullptr;
  int padded_k = 0;
  int segments = 0;
  int bounds[kSegmentsMax + 1] = {};        // of the segments, in columns
  int chunk_bounds[kSegmentsMax + 1] = {};  // and in chunks
  friend bool operator==(const PackRowsArguments&, const PackRowsArguments&) = default;
};

/// x[row][column] *= rows[row] * columns[column].
struct ScaleArguments {
  RowsArgument x;
  const float* rows = nullptr;
  const float* columns = nullptr;
  friend bool operator==(const ScaleArguments&, const ScaleArguments&) = default;
};

/// out[row][output] = sum over K. `weight` and `in` are [output or row][padded_k] bf16; in class f32
/// [..][columns] f32.
struct MatMulArguments {
  const void* weight = nullptr;
  const void* in = nullptr;
  std::int64_t weight_stride = 0;  // elements
  std::int64_t in_stride = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  int rows = 0;
  int outputs = 0;
  int segments = 0;                   // 1, 2, 4 or 8
  int bounds[kSegmentsMax + 1] = {};  // in chunks; in class f32 in columns
  int splits = 1;                     // blocks that share one output's segments; divides `segments`
  float* partial = nullptr;           // [split][row][output] where there are several
  friend bool operator==(const MatMulArguments&, const MatMulArguments&) = default;
};

/// A run of tokens of one sequence.
struct SliceArgument {
  std::int32_t first_entry = 0;  // of its block table
  std::int32_t first_row = 0;    // of the activations
  std::int32_t tokens = 0;
  std::int32_t first_position = 0;
  friend bool operator==(const SliceArgument&, const SliceArgument&) = default;
};

/// Rows of a slice that one block attends for, each a token and one of the query heads that share a KV head:
/// row r is token r / group, head r % group. It goes through spans [first_span, first_span + spans).
struct AttentionItem {
  std::int32_t slice = 0;
  std::int32_t first_row = 0;
  std::int32_t rows = 0;
  std::int32_t first_span = 0;
  std::int32_t spans = 0;
  std::int32_t partial =
      -1;  // its first row of partial results, one for each span and row; -1: it writes the result
  friend bool operator==(const AttentionItem&, const AttentionItem&) = default;
};

/// Rows of a slice whose spans were attended to apart.
struct CombineItem {
  std::int32_t slice = 0;
  std::int32_t first_row = 0;
  std::int32_t rows = 0;
  std::int32_t spans = 0;
  std::int32_t partial = 0;
  friend bool operator==(const CombineItem&, const CombineItem&) = default;
};

struct AttentionArguments {
  const std::byte* base = nullptr;
  std::int64_t block_bytes = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int group = 0;  // query heads a KV head
  float scale = 0;
  int window = 0;
  const SliceArgument* slices = nullptr;
  const std::uint32_t* blocks = nullptr;
  const AttentionItem* items = nullptr;
  int item_count = 0;
  const CombineItem* combines = nullptr;
  int combine_count = 0;
  const float* q = nullptr;
  std::int64_t q_stride = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  float* partials = nullptr;  // [partial row][KV head][head_dim sums, highest, total]
  friend bool operator==(const AttentionArguments&, const AttentionArguments&) = default;
};

/// One piece of a hand-off: `bytes` at `address`, `offset` into the staging slot.
struct PieceArgument {
  std::byte* address = nullptr;
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
  friend bool operator==(const PieceArgument&, const PieceArgument&) = default;
};

struct StageArguments {
  const PieceArgument* pieces = nullptr;
  int count = 0;
  std::byte* slot = nullptr;
  bool gather = true;  // pieces into the slot; else the slot into the pieces
  friend bool operator==(const StageArguments&, const StageArguments&) = default;
};

}  // namespace baton::kernels::cuda
