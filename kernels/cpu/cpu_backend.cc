#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "kernels/backend.h"
#include "kernels/cpu/affinity.h"
#include "kernels/cpu/expert_choice.h"
#include "kernels/cpu/instruction_sets.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/rope_table.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/work_shares.h"

namespace baton::kernels {
namespace cpu {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = 2U << 20;
/// Positions that lie one behind the other for attention: blocks are multiples of it.
constexpr std::int64_t kGroupTokens = 16;
/// Packed rows of an item as large as this leave the second-level cache while its panels pass.
constexpr std::int64_t kRowsInCache = std::int64_t{1} << 20;
constexpr std::size_t kLineFloats = 16;
/// Columns that one work item of an addition over rows takes.
constexpr std::int64_t kColumnsPerItem = 256;

void Free(MemoryRegion region) {
  std::free(region.address);
}

/// How a matmul's rows are cut: into blocks of at most `most`, or two of the same size, since 16 rows in 8
/// and 8 stream memory more evenly than in 12 and 4.
struct RowBlocks {
  std::int64_t rows;
  std::int64_t count;
  std::int64_t each;

  RowBlocks(std::int64_t all, int most)
      : rows(all), count((all + most - 1) / most), each(count == 2 ? (all + 1) / 2 : most) {}
  [[nodiscard]] std::int64_t First(std::int64_t block) const { return block * each; }
  [[nodiscard]] int Rows(std::int64_t block) const {
    return static_cast<int>(std::min(each, rows - First(block)));
  }
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const InnerKernels& kernels, ComputeClass compute, DType kv, int threads, Placement placement)
      : kernels_(kernels),
        compute_(compute),
        kv_(kv),
        placement_(std::move(placement)),
        pool_(threads, placement_.cores),
        shares_(threads),
        scratch_(static_cast<std::size_t>(threads)) {}

  std::string Name() const override {
    return fmt::format("cpu/{}/{}", kernels_.name, kernels::Name(compute_));
  }
  ComputeClass Compute() const override { return compute_; }
  DType KvType() const override { return kv_; }

  absl::StatusOr<Buffer> Allocate(std::size_t bytes) override {
    if (bytes == 0) return Error(kResourceExhausted, "cannot allocate 0 bytes of host memory");
    BATON_ASSIGN_OR_RETURN(Buffer buffer, Untouched(bytes, kHugePage));
    std::memset(buffer.Region().address, 0, bytes);
    return buffer;
  }

  absl::StatusOr<Buffer> Upload(std::span<const std::byte> bytes) override {
    BATON_ASSIGN_OR_RETURN(Buffer buffer, Untouched(bytes.size(), kPage));
    if (!bytes.empty()) std::memcpy(buffer.Region().address, bytes.data(), bytes.size());
    return buffer;
  }

  void Copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }

  Rows ToHost(Rows rows) override { return rows; }

  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const WeightView& weight,
                                                     const PackOptions& options) override {
    return CpuMatrix::Create(weight, options, compute_, *this, pool_);
  }

  void EnterThread() override {
    if (!placement_.cores.empty()) PinThisThread(placement_.cores.front());
  }

  void Embed(const WeightView& table, std::span<const TokenId> ids, Rows out) override {
    pool_.ParallelFor(static_cast<std::int64_t>(ids.size()), [&](std::int64_t i, int) {
      const std::int64_t row = ids[static_cast<std::size_t>(i)];
      const std::byte* source =
          table.data + row * table.columns * static_cast<std::int64_t>(SizeOf(table.dtype));
      float* target = out.data + i * out.stride;
      for (std::int64_t c = 0; c < table.columns; ++c) target[c] = LoadElement(source, table.dtype, c);
    });
  }

  void RmsNorm(Rows in, std::span<const float> weight, float epsilon, Rows out) override {
    pool_.ParallelFor(in.rows, [&](std::int64_t i, int) {
      kernels_.rms_norm(in.data + i * in.stride, weight.data(), epsilon, in.columns,
                        out.data + i * out.stride);
    });
  }

  void MatMul(const PackedMatrix& weight, Rows in, Rows out) override;

  void Rope(Rows x, int head_dim, std::span<const std::int32_t> positions,
            std::span<const double> inverse_frequencies) override {
    if (positions.empty()) return;
    rope_.Prepare(inverse_frequencies, *std::ranges::max_element(positions));
    const std::int64_t half = head_dim / 2;
    pool_.ParallelFor(x.rows, [&](std::int64_t i, int) {
      const float* cosine = rope_.At(positions[static_cast<std::size_t>(i)]);
      const float* sine = cosine + half;
      for (std::int64_t start = 0; start + head_dim <= x.columns; start += head_dim) {
        float* head = x.data + i * x.stride + start;
        for (std::int64_t d = 0; d < half; ++d) {
          const float low = head[d];
          const float high = head[half + d];
          head[d] = low * cosine[d] - high * sine[d];
          head[half + d] = high * cosine[d] + low * sine[d];
        }
      }
    });
  }

  void WriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices, Rows k, Rows v) override;
  void Attention(const KvLayer& layer, std::span<const SequenceSlice> slices, const AttentionShape& shape,
                 Rows q, Rows out) override;

  void SwiGlu(Rows gate_up, Rows out) override {
    pool_.ParallelFor(out.rows, [&](std::int64_t i, int) {
      const float* gate = gate_up.data + i * gate_up.stride;
      kernels_.swiglu(gate, gate + out.columns, out.columns, out.data + i * out.stride);
    });
  }

  void Add(Rows x, Rows y) override {
    pool_.ParallelFor(x.rows, [&](std::int64_t i, int) {
      float* target = x.data + i * x.stride;
      const float* source = y.data + i * y.stride;
      for (std::int64_t c = 0; c < x.columns; ++c) target[c] += source[c];
    });
  }

  void AddBias(Rows x, std::span<const float> bias) override {
    pool_.ParallelFor(x.rows, [&](std::int64_t i, int) {
      float* target = x.data + i * x.stride;
      for (std::int64_t c = 0; c < x.columns; ++c) target[c] += bias[static_cast<std::size_t>(c)];
    });
  }

  void RmsNormHeads(Rows x, int head_dim, std::span<const float> weight, float epsilon) override {
    pool_.ParallelFor(x.rows, [&](std::int64_t i, int) {
      for (std::int64_t start = 0; start + head_dim <= x.columns; start += head_dim) {
        float* head = x.data + i * x.stride + start;
        kernels_.rms_norm(head, weight.data(), epsilon, head_dim, head);
      }
    });
  }

  void ChooseExperts(Rows logits, const ExpertChoice& shape, std::span<std::int32_t> experts,
                     std::span<float> shares) override {
    const auto chosen = static_cast<std::size_t>(shape.chosen);
    pool_.ParallelFor(logits.rows, [&](std::int64_t i, int) {
      const auto row = static_cast<std::size_t>(i) * chosen;
      ChooseExpertsOfRow({logits.data + i * logits.stride, static_cast<std::size_t>(logits.columns)},
                         shape.normalize, experts.subspan(row, chosen), shares.subspan(row, chosen));
    });
  }

  void AddScaledRows(Rows x, std::span<const std::int64_t> indices, std::span<const float> shares,
                     Rows y) override {
    // Shared out by columns: a row may be named twice, and its sum has an order.
    const std::int64_t pieces = (x.columns + kColumnsPerItem - 1) / kColumnsPerItem;
    pool_.ParallelFor(pieces, [&](std::int64_t piece, int) {
      const std::int64_t end = std::min(x.columns, (piece + 1) * kColumnsPerItem);
      for (std::size_t i = 0; i < indices.size(); ++i) {
        float* target = x.data + indices[i] * x.stride;
        const float* source = y.data + static_cast<std::int64_t>(i) * y.stride;
        for (std::int64_t c = piece * kColumnsPerItem; c < end; ++c) target[c] += shares[i] * source[c];
      }
    });
  }

  void GateRows(Rows x, Rows gate) override {
    pool_.ParallelFor(x.rows, [&](std::int64_t i, int) {
      const float share = 1 / (1 + std::exp(-gate.data[i * gate.stride]));
      for (std::int64_t c = 0; c < x.columns; ++c) x.data[i * x.stride + c] *= share;
    });
  }

  void GatherRows(Rows in, std::span<const std::int64_t> indices, Rows out) override {
    for (std::size_t i = 0; i < indices.size(); ++i) {
      std::memcpy(out.data + static_cast<std::int64_t>(i) * out.stride, in.data + indices[i] * in.stride,
                  static_cast<std::size_t>(out.columns) * sizeof(float));
    }
  }

  void Synchronize() override {}

 private:
  /// Memory in pages of this size, on the node that the options say; of huge pages, as far as there are.
  absl::StatusOr<Buffer> Untouched(std::size_t bytes, std::size_t page) const {
    const std::size_t rounded = std::max(page, (bytes + page - 1) / page * page);
    void* address = rounded >= bytes ? std::aligned_alloc(page, rounded) : nullptr;
    if (address == nullptr)
      return Error(kResourceExhausted, "cannot allocate {} bytes of host memory", bytes);
    if (page == kHugePage) madvise(address, rounded, MADV_HUGEPAGE);  // best effort
    BindMemory({.address = static_cast<std::byte*>(address), .bytes = rounded}, placement_);
    return Buffer({.address = static_cast<std::byte*>(address), .bytes = bytes}, Free);
  }
  /// Activations of a matmul are bf16 or int8, not f32.
  [[nodiscard]] bool RowsAreLow() const { return compute_ != ComputeClass::kF32; }
  /// Fills `packed_rows_`; returns the bytes of a block.
  std::int64_t PackRows(const CpuMatrix& matrix, Rows in, const RowBlocks& blocks);
  void MultiplyPanels(const CpuMatrix& matrix, const RowBlocks& blocks, std::int64_t block_bytes, Rows out);
  /// Of all threads at once: one that comes late would allocate in the middle of a warmed step.
  void GrowScratch(std::int64_t floats) {
    for (std::vector<float>& scratch : scratch_)
      scratch.resize(std::max(scratch.size(), static_cast<std::size_t>(floats) + kLineFloats));
  }
  /// Begins a line of the cache.
  float* Scratch(int thread) {
    float* data = scratch_[static_cast<std::size_t>(thread)].data();
    const auto within = reinterpret_cast<std::uintptr_t>(data) / sizeof(float) % kLineFloats;
    return within == 0 ? data : data + (kLineFloats - within);
  }
  /// Rows of one KV head's group that one thread attends for at a time.
  struct AttentionItem {
    std::int64_t slice = 0;
    std::int64_t first_token = 0;  // in the slice
    std::int64_t tokens = 0;
    int kv_head = 0;
    int first_head = 0;  // of the group, query heads [first_head, first_head + heads)
    int heads = 0;
  };
  void PlanAttention(const KvLayer& layer, std::span<const SequenceSlice> slices,
                     const AttentionShape& shape);
  void RunAttention(const WorkShares::Item& taken, const KvLayer& layer,
                    std::span<const SequenceSlice> slices, const AttentionShape& shape, Rows q, Rows out,
                    int thread);
  AttentionAhead FirstTile(const AttentionItem& item, const KvLayer& layer, const SequenceSlice& slice,
                           const AttentionShape& shape) const;

  const InnerKernels& kernels_;
  const ComputeClass compute_;
  const DType kv_;
  const Placement placement_;
  ThreadPool pool_;
  RopeTable rope_;
  // Scratch, kept between calls so that a step allocates nothing once it has grown.
  std::vector<std::byte> packed_rows_;
  WorkShares shares_;                        // of a matmul's panels
  std::vector<std::vector<float>> scratch_;  // per thread
  std::vector<AttentionItem> items_;
  std::vector<const std::byte*> block_addresses_;
  std::vector<std::int64_t> first_block_;  // per slice: its first entry of block_addresses_
};

std::int64_t CpuBackend::PackRows(const CpuMatrix& matrix, Rows in, const RowBlocks& blocks) {
  const bool int8 = matrix.Format() == PanelFormat::kInt8;
  const std::int32_t* bounds = matrix.Bounds().data();
  const std::int64_t block_bytes = int8           ? kernels_.int8_block_bytes(bounds)
                                   : RowsAreLow() ? kernels_.bf16_block_bytes(bounds)
                                                  : (in.columns + 1) / 2 * 2 * kTileRows * 4;
  if (static_cast<std::int64_t>(packed_rows_.size()) < blocks.count * block_bytes) {
    packed_rows_.resize(static_cast<std::size_t>(blocks.count * block_bytes));
  }
  pool_.ParallelFor(blocks.count, [&](std::int64_t block, int) {
    const float* source = in.data + blocks.First(block) * in.stride;
    std::byte* target = packed_rows_.data() + block * block_bytes;
    const PackRowsTask task{.in = source,
                            .stride = in.stride,
                            .rows = blocks.Rows(block),
                            .columns = in.columns,
                            .bounds = bounds,
                            .out = target};
    if (!RowsAreLow()) {
      kernels_.pack_rows_f32(source, in.stride, task.rows, in.columns, reinterpret_cast<float*>(target));
    } else {
      (int8 ? kernels_.pack_rows_int8 : kernels_.pack_rows_bf16)(task);
    }
  });
  return block_bytes;
}

void CpuBackend::MatMul(const PackedMatrix& weight, Rows in, Rows out) {
  const auto& matrix = static_cast<const CpuMatrix&>(weight);
  BATON_CHECK(in.columns == matrix.Columns() && out.columns == matrix.Rows() && in.rows == out.rows);
  const RowBlocks blocks(in.rows, RowsAreLow() ? kernels_.block_rows : kTileRows);
  const std::int64_t block_bytes = PackRows(matrix, in, blocks);
  if (kernels_.matmul_bf16_panels != nullptr && RowsAreLow() && matrix.Format() == PanelFormat::kBF16 &&
      blocks.count > 1 && kBlocksPerItem * block_bytes >= kRowsInCache)
    return MultiplyPanels(matrix, blocks, block_bytes, out);
  const auto multiply = matrix.Format() == PanelFormat::kInt8  ? kernels_.matmul_int8
                        : matrix.Format() == PanelFormat::kF32 ? kernels_.matmul_f32
                        : RowsAreLow()                         ? kernels_.matmul_bf16
                                                               : kernels_.matmul_bf16_f32;
  const std::int64_t groups = (blocks.count + kBlocksPerItem - 1) / kBlocksPerItem;
  shares_.Divide(matrix.Panels());
  pool_.ParallelFor(matrix.Panels() * groups, [&](std::int64_t item, int thread) {
    // One group of rows: panels in a run for each thread, so that it knows which comes next. More: they share
    // the panels, whose reading is a small part of the work.
    const auto [panel, next] = groups == 1 ? shares_.Take(thread) : WorkShares::Item{item / groups, -1};
    const std::int64_t first = item % groups * kBlocksPerItem;
    MatMulTile tile{
        .panel = matrix.Panel(panel), .bounds = matrix.TileBounds().data(), .out_stride = out.stride};
    tile.columns =
        static_cast<int>(std::min<std::int64_t>(kPanelColumns, out.columns - panel * kPanelColumns));
    // The next panel comes with the first block of rows, half by half with the first two where there are
    // more.
    const std::byte* ahead = next >= 0 ? matrix.Panel(next) : nullptr;
    tile.next_stride = blocks.count == 1 ? 128 : 64;
    for (std::int64_t block = first; block < std::min(blocks.count, first + kBlocksPerItem); ++block) {
      tile.next = ahead != nullptr && block < 2 ? ahead + block * matrix.PanelBytes() / 2 : nullptr;
      tile.activations = packed_rows_.data() + block * block_bytes;
      tile.rows = blocks.Rows(block);
      tile.out = out.data + blocks.First(block) * out.stride + panel * kPanelColumns;
      multiply(tile);
    }
  });
}

void CpuBackend::MultiplyPanels(const CpuMatrix& matrix, const RowBlocks& blocks, std::int64_t block_bytes,
                                Rows out) {
  const std::int64_t groups = (blocks.count + kBlocksPerItem - 1) / kBlocksPerItem;
  // Wide matrices: more panels for each reading of the rows. Never so many that threads lack work.
  const std::int64_t most = kBlocksPerItem * block_bytes > kRowsInCache ? kPanelsPerItem : kPanelsPerItem / 2;
  const std::int64_t share = matrix.Panels() * groups / (4 * pool_.Threads());
  const std::int64_t each = std::clamp<std::int64_t>(share, 1, most);
  const std::int64_t pieces = (matrix.Panels() + each - 1) / each;
  GrowScratch(PanelsScratchFloats(each));
  shares_.Divide(groups * pieces);
  pool_.ParallelFor(groups * pieces, [&](std::int64_t, int thread) {
    const auto [item, next] = shares_.Take(thread);
    const std::int64_t block = item / pieces * kBlocksPerItem;
    const std::int64_t panel = item % pieces * each;
    const std::int64_t row = blocks.First(block);
    const std::int64_t column = panel * kPanelColumns;
    kernels_.matmul_bf16_panels(
        {.panels = matrix.Panel(panel),
         .panel_bytes = matrix.PanelBytes(),
         .panel_count = static_cast<int>(std::min(each, matrix.Panels() - panel)),
         .activations = packed_rows_.data() + block * block_bytes,
         .block_bytes = block_bytes,
         .rows = static_cast<int>(std::min(out.rows - row, kBlocksPerItem * blocks.each)),
         .block_rows = static_cast<int>(blocks.each),
         .bounds = matrix.TileBounds().data(),
         .out = out.data + row * out.stride + column,
         .out_stride = out.stride,
         .columns = static_cast<int>(std::min(out.columns - column, each * kPanelColumns)),
         .next = next >= 0 ? matrix.Panel(next % pieces * each) : nullptr,
         .scratch = Scratch(thread)});
  });
}

void CpuBackend::WriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices, Rows k, Rows v) {
  const auto element = static_cast<std::int64_t>(SizeOf(layer.dtype));
  const std::int64_t dim = layer.head_dim;
  const std::int64_t head_bytes = layer.block_tokens * dim * element;
  const auto store = [&](const float* source, std::byte* target) {
    if (layer.dtype == DType::kF32) {
      std::memcpy(target, source, static_cast<std::size_t>(dim) * 4);
    } else {
      kernels_.to_bf16(source, dim, reinterpret_cast<std::uint16_t*>(target));
    }
  };
  for (const SequenceSlice& slice : slices) {
    pool_.ParallelFor(slice.tokens, [&](std::int64_t i, int) {
      const std::int64_t position = slice.first_position + i;
      const BlockIndex block = slice.blocks[static_cast<std::size_t>(position / layer.block_tokens)];
      std::byte* base = layer.base + block.value * layer.BlockBytes();
      const std::int64_t offset = position % layer.block_tokens * dim * element;
      for (std::int64_t head = 0; head < layer.kv_heads; ++head) {
        const std::int64_t row = slice.first_row + i;
        store(k.data + row * k.stride + head * dim, base + head * head_bytes + offset);
        store(v.data + row * v.stride + head * dim, base + (layer.kv_heads + head) * head_bytes + offset);
      }
    });
  }
}

void CpuBackend::PlanAttention(const KvLayer& layer, std::span<const SequenceSlice> slices,
                               const AttentionShape& shape) {
  items_.clear();
  block_addresses_.clear();
  first_block_.clear();
  const std::int64_t row_bytes = layer.head_dim * static_cast<std::int64_t>(SizeOf(layer.dtype));
  const int group = shape.heads / layer.kv_heads;
  const int heads_at_once = std::min(group, kAttentionRowsMax);
  const std::int64_t tokens_at_once = std::max(1, kAttentionRowsMax / heads_at_once);
  for (std::size_t s = 0; s < slices.size(); ++s) {
    const SequenceSlice& slice = slices[s];
    first_block_.push_back(static_cast<std::int64_t>(block_addresses_.size()));
    const std::int64_t written = slice.first_position + slice.tokens;
    for (std::int64_t first = 0; first < written; first += kGroupTokens) {
      const BlockIndex block = slice.blocks[static_cast<std::size_t>(first / layer.block_tokens)];
      block_addresses_.push_back(layer.base + block.value * layer.BlockBytes() +
                                 first % layer.block_tokens * row_bytes);
    }
    // Late tokens see the most: first in line, so that the threads end together.
    for (std::int64_t end = slice.tokens; end > 0; end -= std::min(end, tokens_at_once)) {
      const std::int64_t first = std::max<std::int64_t>(0, end - tokens_at_once);
      for (int kv_head = 0; kv_head < layer.kv_heads; ++kv_head) {
        for (int head = 0; head < group; head += heads_at_once) {
          items_.push_back({.slice = static_cast<std::int64_t>(s),
                            .first_token = first,
                            .tokens = end - first,
                            .kv_head = kv_head,
                            .first_head = kv_head * group + head,
                            .heads = std::min(heads_at_once, group - head)});
        }
      }
    }
  }
}

std::int64_t HeadBytes(const KvLayer& layer) {
  return std::int64_t{layer.block_tokens} * layer.head_dim * static_cast<std::int64_t>(SizeOf(layer.dtype));
}

/// Where the item begins to read.
AttentionAhead CpuBackend::FirstTile(const AttentionItem& item, const KvLayer& layer,
                                     const SequenceSlice& slice, const AttentionShape& shape) const {
  const std::int64_t position = slice.first_position + item.first_token;
  const std::int64_t seen_from =
      shape.window > 0 ? std::max<std::int64_t>(0, position - shape.window + 1) : 0;
  const std::int64_t first = seen_from / kAttentionTile * (kAttentionTile / kGroupTokens);
  const std::int64_t last = (position + item.tokens - 1) / kGroupTokens;
  return {.blocks = block_addresses_.data() + first_block_[static_cast<std::size_t>(item.slice)] + first,
          .count = static_cast<int>(std::min<std::int64_t>(4, last - first + 1)),
          .k_offset = item.kv_head * HeadBytes(layer),
          .v_offset = (layer.kv_heads + item.kv_head) * HeadBytes(layer)};
}

void CpuBackend::RunAttention(const WorkShares::Item& taken, const KvLayer& layer,
                              std::span<const SequenceSlice> slices, const AttentionShape& shape, Rows q,
                              Rows out, int thread) {
  const AttentionItem& item = items_[static_cast<std::size_t>(taken.index)];
  const SequenceSlice& slice = slices[static_cast<std::size_t>(item.slice)];
  const float* q_rows[kAttentionRowsMax];
  float* out_rows[kAttentionRowsMax];
  std::int64_t positions[kAttentionRowsMax];
  int rows = 0;
  for (std::int64_t t = item.first_token; t < item.first_token + item.tokens; ++t) {
    for (int head = item.first_head; head < item.first_head + item.heads; ++head, ++rows) {
      const std::int64_t row = slice.first_row + t;
      q_rows[rows] = q.data + row * q.stride + head * layer.head_dim;
      out_rows[rows] = out.data + row * out.stride + head * layer.head_dim;
      positions[rows] = slice.first_position + t;
    }
  }
  AttentionAhead next;
  if (taken.next >= 0) {
    const AttentionItem& follows = items_[static_cast<std::size_t>(taken.next)];
    next = FirstTile(follows, layer, slices[static_cast<std::size_t>(follows.slice)], shape);
  }
  kernels_.attention({.rows = {.q = q_rows, .out = out_rows, .position = positions, .rows = rows},
                      .blocks = block_addresses_.data() + first_block_[static_cast<std::size_t>(item.slice)],
                      .k_offset = item.kv_head * HeadBytes(layer),
                      .v_offset = (layer.kv_heads + item.kv_head) * HeadBytes(layer),
                      .head_dim = layer.head_dim,
                      .scale = shape.scale,
                      .window = shape.window,
                      .bf16 = layer.dtype == DType::kBF16,
                      .next = next,
                      .scratch = Scratch(thread)});
}

void CpuBackend::Attention(const KvLayer& layer, std::span<const SequenceSlice> slices,
                           const AttentionShape& shape, Rows q, Rows out) {
  BATON_CHECK(layer.block_tokens % kGroupTokens == 0 && layer.kv_heads > 0 &&
              shape.heads % layer.kv_heads == 0);
  BATON_CHECK(layer.dtype == KvType());
  BATON_CHECK(layer.head_dim > 0 && layer.head_dim <= kHeadDimMax && layer.head_dim % 2 == 0, "head dim {}",
              layer.head_dim);
  PlanAttention(layer, slices, shape);
  GrowScratch(AttentionScratchFloats(layer.head_dim));
  const auto count = static_cast<std::int64_t>(items_.size());
  shares_.Divide(count);
  pool_.ParallelFor(count, [&](std::int64_t, int thread) {
    RunAttention(shares_.Take(thread), layer, slices, shape, q, out, thread);
  });
}

}  // namespace
}  // namespace cpu

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options) {
  BATON_ASSIGN_OR_RETURN(const cpu::InnerKernels* kernels, cpu::FindKernels(options.instruction_set));
  if (options.compute == ComputeClass::kFp8)
    return Error(kInvalidArgument, "compute.class fp8 is a GPU's alone; a CPU computes in f32, bf16 or int8");
  if (options.threads < 0 || options.threads > 1024) {
    return Error(kInvalidArgument, "compute threads: {} is not between 0 (all) and 1024", options.threads);
  }
  auto placement = cpu::Place(options.cores, options.numa_node);
  if (!placement.ok()) return Annotate(placement.status(), "compute");
  const auto cores = static_cast<int>(placement->cores.size());
  if (cores > 0 && options.threads > cores) {
    return Error(kInvalidArgument, "compute threads: {} do not fit {} cores, one each", options.threads,
                 cores);
  }
  const int all = cores > 0 ? cores : static_cast<int>(cpu::UsableCores().size());
  const DType own = options.compute == ComputeClass::kF32 ? DType::kF32 : DType::kBF16;
  const DType kv = options.kv.value_or(own);
  if (kv == DType::kF16) return Error(kUnimplemented, "compute: the CPU keeps KV as f32 or bf16, not as f16");
  return std::make_unique<cpu::CpuBackend>(
      *kernels, options.compute, kv, options.threads > 0 ? options.threads : all, *std::move(placement));
}

absl::StatusOr<std::vector<std::unique_ptr<Backend>>> CreateCpuRanks(const CpuOptions& options, int ranks) {
  const int cores = static_cast<int>(options.cores.size());
  if (cores % ranks != 0) {
    return Error(kInvalidArgument, "compute: {} cores cannot be shared out among {} ranks", cores, ranks);
  }
  const int all = options.threads > 0 ? options.threads
                  : cores > 0         ? cores
                                      : static_cast<int>(cpu::UsableCores().size());
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < ranks; ++rank) {
    CpuOptions own = options;
    if (ranks > 1) own.threads = std::max(1, all / ranks);
    const auto first = options.cores.begin() + rank * (cores / ranks);
    own.cores.assign(first, first + cores / ranks);
    BATON_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, CreateCpuBackend(own));
    backends.push_back(std::move(backend));
  }
  return backends;
}

}  // namespace baton::kernels
