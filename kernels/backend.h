#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/device_copier.h"
#include "common/base/ids.h"
#include "common/base/memory_region.h"

/// What a decoder-only transformer needs of a machine: memory and a dozen operations, on the CPU or one GPU.
/// Activations are f32, row-major, one row per token. Every operation is *batch-invariant*: a row's result
/// depends on that row (and its own sequence's KV) alone, to the bit, whatever else is in the batch and
/// however it is cut:
///  - a matmul sums each output over K in 8 fixed segments, each in order, joined by the tree
///    ((s0+s1)+(s2+s3))+((s4+s5)+(s6+s7)), so that 1, 2, 4 and 8 tensor-parallel ranks agree;
///  - attention reduces in absolute tiles of 64 positions, from tile 0 upwards, for prompts and single tokens
///  alike.
namespace baton::kernels {

/// Stored element types of weights and KV.
enum class DType { kF32, kBF16, kF16 };
[[nodiscard]] std::size_t SizeOf(DType dtype);
[[nodiscard]] std::string_view Name(DType dtype);

/// f32: products of f32 values, f32 KV; the exact class. bf16: products of bf16 values summed in f32, bf16
/// KV; the fast one. CpuOptions::kv may ask for the other KV. int8: weights and activations of a matmul as
/// 8-bit integers with a scale for each row and segment of K, everything else as in bf16; faster still, and
/// less exact; CPUs have it. fp8: as 8-bit floats with a scale for each row, else as in bf16; GPUs from
/// compute capability 8.9 on have it, by a library that is not batch-invariant.
enum class ComputeClass { kF32, kBF16, kInt8, kFp8 };
[[nodiscard]] std::string_view Name(ComputeClass compute);

/// Positions that one attention tile spans; a numerics constant, see above.
inline constexpr int kAttentionTile = 64;
/// Segments of a matmul's K that are summed apart; a numerics constant, see above.
inline constexpr int kReductionSegments = 8;

/// Bounds of the 8 segments of K, in elements: K rounded up to even, segment i is [2 * floor(h i / 8), 2 *
/// floor(h (i+1) / 8)) with h half of that. Even, so that a pair of bf16 never straddles two segments; a
/// function of K alone.
[[nodiscard]] std::array<std::int32_t, kReductionSegments + 1> SegmentBounds(std::int64_t k);

/// A share of a matmul's K: `count` segments from `first` on. All of them, or an aligned half, quarter or
/// eighth: then the tree of sums within it is a subtree of the whole one.
struct SegmentRange {
  int first = 0;
  int count = kReductionSegments;
};

/// How a weight matrix is packed.
struct PackOptions {
  SegmentRange segments;
  /// Classes int8 and fp8 may round this weight to 8 bits. False for what decides rather than computes, such
  /// as a router of experts: it is multiplied as in class bf16.
  bool may_quantize = true;
};

/// Memory of a backend, zeroed at allocation. Move-only; frees itself; may outlive the backend.
class Buffer {
 public:
  Buffer() = default;
  Buffer(MemoryRegion region, void (*release)(MemoryRegion)) : region_(region), release_(release) {}
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();
  [[nodiscard]] const MemoryRegion& Region() const { return region_; }
  [[nodiscard]] std::size_t Bytes() const { return region_.bytes; }
  template <typename T>
  [[nodiscard]] T* As() const {
    return reinterpret_cast<T*>(region_.address);
  }

 private:
  MemoryRegion region_;
  void (*release_)(MemoryRegion) = nullptr;
};

/// A stored weight matrix as it lies in the checkpoint: [rows][columns], row-major, on the host, not owned.
struct WeightView {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;     // outputs
  std::int64_t columns = 0;  // inputs (K)
};

/// A weight matrix in the backend's own order, made once at load. Immutable; shared between threads.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  [[nodiscard]] virtual std::int64_t Rows() const = 0;
  [[nodiscard]] virtual std::int64_t Columns() const = 0;
  [[nodiscard]] virtual std::size_t Bytes() const = 0;
};

/// f32 activations [rows][columns], rows `stride` floats apart. Not owned.
struct Rows {
  float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
};

/// One layer of the KV arena: [block][k|v][kv_head][token][dim]. `dtype` is Backend::KvType().
struct KvLayer {
  std::byte* base = nullptr;
  DType dtype = DType::kF32;
  int kv_heads = 0;
  int head_dim = 0;
  int block_tokens = 16;
  [[nodiscard]] std::size_t BlockBytes() const {
    return std::size_t{2} * kv_heads * block_tokens * head_dim * SizeOf(dtype);
  }
};

/// A run of consecutive tokens of one sequence inside a batch.
struct SequenceSlice {
  std::span<const BlockIndex> blocks;  // block table: entry i: positions [n i, n i + n), n of a block
  std::int64_t first_row = 0;          // of the batch's activations
  std::int64_t tokens = 0;
  std::int64_t first_position = 0;  // of the first of these tokens in its sequence
};

struct AttentionShape {
  int heads = 0;  // query heads; a multiple of the KV heads
  float scale = 0;
  int window = 0;  // a token sees itself and the window-1 before it; 0 = all
};

/// How a mixture of experts picks.
struct ExpertChoice {
  int chosen = 0;          // experts a token
  bool normalize = false;  // shares of the chosen ones add up to 1
};

/// How a column of a row is drawn: by the weights e^((x - highest) / temperature) of those whose weight is
/// `min_p` or more, the first whose sum with all before it exceeds `uniform` times the sum of all.
struct RowDraw {
  double temperature = 0;  // 0: it is not
  double min_p = 0;
  double uniform = 0;  // [0, 1)
};
struct DrawnRow {
  /// What doubles that are summed in order of columns would choose. Below 0: it is not known, since roundings
  /// might choose it, or there are numbers that are none.
  std::int32_t column = -1;
  /// Of the weights that count, to a part in 2^30. 0: it is not known.
  double total = 0;
};

/// One device. All operations are called from one thread (the engine's) and are complete when they return or,
/// on a device with queues, when `Synchronize` does. Rows, KV, tables, norms' weights and biases lie in the
/// backend's own memory, which the host can read only where the backend is the host; ids, positions,
/// frequencies, indices, shares and slices are the host's, and are read before an operation returns.
///
/// A device that fails (a lost GPU, a broken kernel) ends the process with an error in the log: what it held
/// is gone, and the service manager starts a fresh one.
class Backend {
 public:
  virtual ~Backend() = default;

  /// "cpu/avx512bf16/bf16": device, instruction set, compute class. Part of the numerics class.
  [[nodiscard]] virtual std::string Name() const = 0;
  [[nodiscard]] virtual ComputeClass Compute() const = 0;
  /// The type that KV is stored in.
  [[nodiscard]] virtual DType KvType() const = 0;
  /// Where its memory lies.
  [[nodiscard]] virtual MemoryKind Memory() const { return MemoryKind::kHost; }

  /// Zeroed memory, 2 MiB aligned and on huge pages where it is large. ResourceExhausted names the size.
  [[nodiscard]] virtual absl::StatusOr<Buffer> Allocate(std::size_t bytes) = 0;
  /// Packs the columns of `weight` that lie in the segments for MatMul, whose result is then that share of
  /// the sum. The source is not needed afterwards.
  [[nodiscard]] virtual absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const WeightView& weight,
                                                                           const PackOptions& options) = 0;
  [[nodiscard]] absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const WeightView& weight) {
    return Pack(weight, PackOptions{});
  }

  /// Memory of the backend with these bytes in it; not rounded up to large pages, for vectors and tables.
  [[nodiscard]] virtual absl::StatusOr<Buffer> Upload(std::span<const std::byte> bytes) = 0;
  /// Copies between any two of the backend's and the host's memory, after all operations so far; complete
  /// when it returns.
  virtual void Copy(std::byte* to, const std::byte* from, std::size_t bytes) = 0;
  /// The rows where the host can read them, after all operations so far; valid until the next call.
  [[nodiscard]] virtual Rows ToHost(Rows rows) = 0;

  /// Called once, by the thread that will call the operations from then on: puts it where the options say.
  /// Threads that it creates afterwards inherit that, so it is not done when the backend is made.
  virtual void EnterThread() = 0;

  /// out[i] = table row ids[i], as f32. `table` is not packed; ids are within it (checked by the caller).
  virtual void Embed(const WeightView& table, std::span<const TokenId> ids, Rows out) = 0;
  /// out = in / sqrt(mean(in^2) + epsilon) * weight, per row. May be in place.
  virtual void RmsNorm(Rows in, std::span<const float> weight, float epsilon, Rows out) = 0;
  /// x += y; out = RmsNorm(x). `out` may be `y`. One operation where that saves a pass over memory; the same
  /// bits.
  virtual void AddRmsNorm(Rows x, Rows y, std::span<const float> weight, float epsilon, Rows out);
  /// out[t][n] = sum_k in[t][k] * weight[n][k]. in and out do not overlap.
  virtual void MatMul(const PackedMatrix& weight, Rows in, Rows out) = 0;
  /// Rotates pairs (i, i + head_dim/2) of each head of x [token][heads * head_dim] by positions[token] *
  /// inv_freq[i], angles computed in double (the Hugging Face convention for Llama).
  virtual void Rope(Rows x, int head_dim, std::span<const std::int32_t> positions,
                    std::span<const double> inverse_frequencies) = 0;
  /// Stores k and v ([token][kv_heads * head_dim]) of each slice at its positions in the arena.
  virtual void WriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices, Rows k, Rows v) = 0;
  /// Rope of queries and keys, then WriteKv of keys and values, which lie side by side in `qkv` [token]
  /// [(heads + 2 kv_heads) * head_dim]; each of its rows is one of a slice. Afterwards the queries are
  /// turned, and the rest says nothing. One operation where that saves passes over memory; the same bits.
  virtual void RopeAndWriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices,
                              std::span<const std::int32_t> positions,
                              std::span<const double> inverse_frequencies, Rows qkv);
  /// Causal attention of q [token][heads * head_dim] over the KV of each slice's own sequence, positions 0 to
  /// its own.
  virtual void Attention(const KvLayer& layer, std::span<const SequenceSlice> slices,
                         const AttentionShape& shape, Rows q, Rows out) = 0;
  /// out[t][i] = silu(gate_up[t][i]) * gate_up[t][width + i], width = out.columns.
  virtual void SwiGlu(Rows gate_up, Rows out) = 0;
  /// x += y.
  virtual void Add(Rows x, Rows y) = 0;
  /// x[t] += bias.
  virtual void AddBias(Rows x, std::span<const float> bias) = 0;
  /// RmsNorm, in place, of each head of x [token][heads * head_dim] by itself; `weight` is [head_dim].
  virtual void RmsNormHeads(Rows x, int head_dim, std::span<const float> weight, float epsilon) = 0;
  /// The `shape.chosen` experts of each row of `logits` [token][experts] with the greatest logits, ties to
  /// the lower id, and their shares: a softmax over all experts, over the chosen ones' sum where
  /// `shape.normalize`. Complete, on the host, when it returns: [token][chosen], experts ascending.
  virtual void ChooseExperts(Rows logits, const ExpertChoice& shape, std::span<std::int32_t> experts,
                             std::span<float> shares) = 0;
  /// x[indices[i]] += shares[i] * y[i], in order of i.
  virtual void AddScaledRows(Rows x, std::span<const std::int64_t> indices, std::span<const float> shares,
                             Rows y) = 0;
  /// x[t] *= 1 / (1 + e^-gate[t][0]).
  virtual void GateRows(Rows x, Rows gate) = 0;
  /// The `count` highest of each row, falling, of equals the lower column first; not above its columns.
  /// Complete, on the host, when it returns: [row][count]. A NaN may stand for any column.
  virtual void Highest(Rows in, std::int64_t count, std::span<std::int32_t> columns, std::span<float> values);
  /// Draws from each row, [row], where the device can: complete, on the host, when it returns.
  virtual void Draw(Rows in, std::span<const RowDraw> draws, std::span<DrawnRow> drawn);
  /// out[i] = in[indices[i]].
  virtual void GatherRows(Rows in, std::span<const std::int64_t> indices, Rows out) = 0;
  virtual void Synchronize() = 0;

  /// A point behind all operations so far. Once it is `Reached`, what they wrote may be read by others than
  /// this thread's operations: by the copier.
  [[nodiscard]] virtual std::uint64_t Mark() { return 0; }
  [[nodiscard]] virtual bool Reached(std::uint64_t) { return true; }
  virtual void Await(std::uint64_t) {}
  /// The way of hand-offs to this backend's memory, beside its operations; null where the host reads it.
  [[nodiscard]] virtual absl::StatusOr<std::shared_ptr<DeviceCopier>> CreateCopier() { return nullptr; }
  /// The operations from here to Synchronize or ToHost are a step of `rows` single tokens, each of a sequence
  /// of its own. A device that replays steps wants them of few shapes: returns with how many rows, `rows_max`
  /// at most, the operations over all rows are to be called; what those beyond `rows` hold is nobody's.
  /// Slices are of the first rows alone.
  [[nodiscard]] virtual std::int64_t BeginStep(std::int64_t rows, std::int64_t) { return rows; }
};

struct CpuOptions {
  ComputeClass compute = ComputeClass::kBF16;
  /// f32 or bf16; nothing: what the class says.
  std::optional<DType> kv = std::nullopt;
  /// Threads that compute, the caller's included; 0 = one for each core named or, where none is, as many as
  /// the process may run on.
  int threads = 0;
  /// The core of each thread, the caller's first; empty: threads run where the system puts them. No fewer
  /// than `threads`.
  std::vector<int> cores = {};
  /// All memory that the backend allocates lies here, and without `cores` its threads run here; -1: memory is
  /// rather where the cores are, if they share a node.
  int numa_node = -1;
  /// "auto" (the best that this processor has) or a name that `CpuInstructionSets` lists.
  std::string instruction_set = "auto";
};

struct CudaOptions {
  ComputeClass compute = ComputeClass::kBF16;
  /// False: matmuls of class bf16 are cuBLASLt's, faster, and a row's bits may depend on its batch; a
  /// numerics class of its own. Those of class fp8 always are, and false is to be said.
  bool invariant = true;
  int device = 0;
  bool graphs = true;  // steps of the same shape are replayed, not launched kernel by kernel
};

/// The name of a GPU that CreateCudaBackend can use for the class. FailedPrecondition as there.
[[nodiscard]] absl::StatusOr<std::string> FindCudaDevice(int device,
                                                         ComputeClass compute = ComputeClass::kBF16);

/// FailedPrecondition where this build, this machine or its driver has no such GPU (the message says which),
/// or the GPU no fp8; InvalidArgument for a class that GPUs do not have (int8).
[[nodiscard]] absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions& options);
/// The GPU's place on the PCI bus, "0000:3b:00.0", by which other libraries know it. Errors as above.
[[nodiscard]] absl::StatusOr<std::string> CudaBusId(int device);

/// Names that this processor can run, best first: of amx, avx512bf16, avx512, avx2, portable.
[[nodiscard]] std::vector<std::string> CpuInstructionSets();
/// "0-7,16" as numbers. InvalidArgument where it is something else.
[[nodiscard]] absl::StatusOr<std::vector<int>> ParseCoreList(std::string_view text);
/// InvalidArgument where the instruction set is unknown or not on this processor (the message lists those
/// that are), or where cores or node do not exist or are not this process's to use.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options);
/// One for each of `ranks`, which share threads and cores out among them: each has at least one thread, and
/// cores that follow each other.
[[nodiscard]] absl::StatusOr<std::vector<std::unique_ptr<Backend>>> CreateCpuRanks(const CpuOptions& options,
                                                                                   int ranks);

}  // namespace baton::kernels
