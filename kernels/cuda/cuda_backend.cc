#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "kernels/backend.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/cuda_copier.h"
#include "kernels/cuda/cuda_matrix.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/fast_matmul.h"
#include "kernels/cuda/graph_plan.h"
#include "kernels/cuda/matmul_plan.h"
#include "kernels/cuda/step_graphs.h"
#include "kernels/cuda/step_record.h"
#include "kernels/cuda/upload_ring.h"

namespace baton::kernels {
namespace cuda {
namespace {

/// Of the area through which operations' small arrays reach the device: 65,536 rows' positions, slots and
/// block tables fit.
constexpr std::size_t kRingBytes = 8U << 20;

[[noreturn]] void EndOfDevice(const absl::Status& status) {
  LogError("cuda_failed", {{"error", status}, {"consequence", "the process ends; a fresh one begins anew"}});
  std::_Exit(1);
}

template <typename T>
std::span<const std::byte> Bytes(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

RowsArgument Argument(const Rows& rows) {
  return {.data = rows.data, .rows = rows.rows, .columns = rows.columns, .stride = rows.stride};
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<Device> device, const CudaOptions& options, std::unique_ptr<FastMatMul> fast,
              Buffer pinned, Buffer twin)
      : device_(std::move(device)),
        fast_(std::move(fast)),
        compute_(options.compute),
        use_graphs_(options.graphs && fast_ == nullptr),  // cuBLASLt's work cannot be compared
        pinned_(std::move(pinned)),
        twin_(std::move(twin)),
        ring_({pinned_.As<std::byte>(), pinned_.Bytes()}),
        graphs_(*device_) {}

  [[nodiscard]] Device& GetDevice() const { return *device_; }
  std::string Name() const override {
    return fmt::format("cuda/{}/{}{}", device_->Facts().architecture, kernels::Name(compute_),
                       fast_ != nullptr ? "/fast" : "");
  }
  ComputeClass Compute() const override { return compute_; }
  DType KvType() const override { return compute_ == ComputeClass::kF32 ? DType::kF32 : DType::kBF16; }
  MemoryKind Memory() const override { return MemoryKind::kDevice; }

  absl::StatusOr<Buffer> Allocate(std::size_t bytes) override {
    if (bytes == 0) return Error(kResourceExhausted, "cannot allocate 0 bytes of device memory");
    return device_->Allocate(bytes);
  }
  absl::StatusOr<Buffer> Upload(std::span<const std::byte> bytes) override {
    BATON_ASSIGN_OR_RETURN(Buffer buffer, device_->Allocate(std::max<std::size_t>(1, bytes.size())));
    Copy(buffer.Region().address, bytes.data(), bytes.size());
    return buffer;
  }
  void Copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
    EndStep();
    if (bytes > 0) device_->Copy(to, from, bytes);
    Wait();
  }
  Rows ToHost(Rows rows) override;
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const WeightView& weight,
                                                     const PackOptions& options) override {
    return CudaMatrix::Create(weight, options, compute_, *device_);
  }
  void EnterThread() override { device_->EnterThread(); }

  void Embed(const WeightView& table, std::span<const TokenId> ids, Rows out) override;
  void RmsNorm(Rows in, std::span<const float> weight, float epsilon, Rows out) override {
    Norm({.in = Argument(in), .weight = weight.data(), .epsilon = epsilon, .out = Argument(out)});
  }
  void AddRmsNorm(Rows x, Rows y, std::span<const float> weight, float epsilon, Rows out) override {
    Norm({.in = Argument(x),
          .add = y.data,
          .add_stride = y.stride,
          .weight = weight.data(),
          .epsilon = epsilon,
          .out = Argument(out)});
  }
  void RmsNormHeads(Rows x, int head_dim, std::span<const float> weight, float epsilon) override {
    if (x.rows == 0) return;
    Kernels().rms_norm_heads(
        Main(), {.x = Argument(x), .head_dim = head_dim, .weight = weight.data(), .epsilon = epsilon});
  }
  void MatMul(const PackedMatrix& weight, Rows in, Rows out) override;
  void Rope(Rows x, int head_dim, std::span<const std::int32_t> positions,
            std::span<const double> inverse_frequencies) override;
  void WriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices, Rows k, Rows v) override;
  void RopeAndWriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices,
                      std::span<const std::int32_t> positions, std::span<const double> inverse_frequencies,
                      Rows qkv) override;
  void Highest(Rows in, std::int64_t count, std::span<std::int32_t> columns,
               std::span<float> values) override;
  void Draw(Rows in, std::span<const RowDraw> draws, std::span<DrawnRow> drawn) override;
  void Attention(const KvLayer& layer, std::span<const SequenceSlice> slices, const AttentionShape& shape,
                 Rows q, Rows out) override;
  void SwiGlu(Rows gate_up, Rows out) override { Pair(Kernels().swiglu, out, gate_up.data, gate_up.stride); }
  void Add(Rows x, Rows y) override { Pair(Kernels().add, x, y.data, y.stride); }
  void AddBias(Rows x, std::span<const float> bias) override { Pair(Kernels().add, x, bias.data(), 0); }
  void GateRows(Rows x, Rows gate) override { Pair(Kernels().gate_rows, x, gate.data, gate.stride); }
  void ChooseExperts(Rows logits, const ExpertChoice& shape, std::span<std::int32_t> experts,
                     std::span<float> shares) override;
  void AddScaledRows(Rows x, std::span<const std::int64_t> indices, std::span<const float> shares,
                     Rows y) override;
  void GatherRows(Rows in, std::span<const std::int64_t> indices, Rows out) override;
  void Synchronize() override {
    Wait();
    retired_.clear();
  }

  std::uint64_t Mark() override {
    EndStep();
    device_->Record(events_);
    return marks_reached_ + events_++;
  }
  bool Reached(std::uint64_t mark) override {
    return mark < marks_reached_ || device_->Happened(mark - marks_reached_);
  }
  void Await(std::uint64_t mark) override {
    if (mark >= marks_reached_) device_->Await(mark - marks_reached_);
  }
  absl::StatusOr<std::shared_ptr<DeviceCopier>> CreateCopier() override {
    return cuda::CreateCopier(*device_);
  }
  std::int64_t BeginStep(std::int64_t rows, std::int64_t rows_max) override {
    EndStep();
    step_rows_ = use_graphs_ ? BucketRows(rows, rows_max) : 0;
    recording_ = step_rows_ > 0;
    return recording_ ? step_rows_ : rows;
  }

 private:
  /// While a step is recorded, what is launched and copied is written down.
  [[nodiscard]] const Launches& Kernels() const {
    return recording_ ? RecordingLaunches() : device_->Kernels();
  }
  [[nodiscard]] Queue Main() { return recording_ ? record_.AsQueue() : device_->MainQueue(); }
  /// Runs what is recorded; from here on operations are launched at once.
  void EndStep() {
    if (!std::exchange(recording_, false)) return;
    graphs_.Run(std::exchange(record_, {}));
  }

  void Norm(const NormArguments& arguments) {
    if (arguments.in.rows > 0) Kernels().rms_norm(Main(), arguments);
  }
  void Pair(void (*launch)(Queue, const PairArguments&), Rows x, const float* y, std::int64_t y_stride) {
    if (x.rows > 0 && x.columns > 0) launch(Main(), {.x = Argument(x), .y = y, .y_stride = y_stride});
  }

  /// Room for the arrays of one operation, so that none of them restarts the ring under another.
  void MakeRoom(std::initializer_list<std::size_t> bytes);
  void PlaceTokens(const KvLayer& layer, std::span<const SequenceSlice> slices);
  /// For what was enqueued. In the midst of a step, too: what has been outgrown stays.
  void Wait() {
    EndStep();
    const absl::Status status = device_->Synchronize();
    if (!status.ok()) EndOfDevice(status);
    ring_.Restart();
    marks_reached_ += events_;
    events_ = 0;
  }
  WriteKvArguments Places(const KvLayer& layer);
  /// The array in device memory, until the next Synchronize. After MakeRoom.
  template <typename T>
  const T* Send(std::span<const T> values) {
    std::span<const std::byte> bytes = std::as_bytes(values);
    if (recording_) {  // filled up, so that arrays of later steps lie in the same places
      filled_.assign(bytes.begin(), bytes.end());
      filled_.resize(BucketBytes(bytes.size()));
      bytes = filled_;
    }
    const UploadRing::Place place = ring_.Put(bytes);
    if (place.copied && !bytes.empty()) {
      std::byte* to = twin_.As<std::byte>() + place.offset;
      const std::byte* from = pinned_.As<std::byte>() + place.offset;
      recording_ ? record_.AddCopy(to, from, bytes.size()) : device_->Copy(to, from, bytes.size());
    }
    return reinterpret_cast<const T*>(twin_.As<std::byte>() + place.offset);
  }
  template <typename T>
  const T* Send(const std::vector<T>& values) {
    return Send(std::span<const T>(values));
  }
  /// At least `bytes` of device (or pinned) memory, kept between calls; a larger one waits for what uses the
  /// old.
  template <typename T>
  T* Grown(Buffer& buffer, std::size_t bytes, bool pinned = false);

  const std::unique_ptr<Device> device_;
  const std::unique_ptr<FastMatMul> fast_;  // null: the kernels of this folder multiply
  const ComputeClass compute_;
  const bool use_graphs_;
  const Buffer pinned_;
  const Buffer twin_;
  UploadRing ring_;
  StepGraphs graphs_;
  StepRecord record_;  // of the step that is recorded
  bool recording_ = false;
  std::int64_t step_rows_ = 0;       // that it is filled up to
  std::uint64_t marks_reached_ = 0;  // all marks before this one
  std::uint64_t events_ = 0;         // marks since
  std::vector<std::byte> filled_;    // scratch
  // Kept between calls, so that a step allocates nothing once they have grown.
  Buffer packed_rows_;
  Buffer row_scales_;  // of those, in class fp8
  Buffer partials_;
  Buffer choices_;
  Buffer host_rows_;
  /// Those that larger ones replaced, until the step ends: to free memory is to wait for the devices, and
  /// another rank's may by then wait for this one's next operation.
  std::vector<Buffer> retired_;
  AttentionPlan plan_;
  std::vector<std::int64_t> slots_;
  std::vector<std::int32_t> sources_;
  std::vector<DrawRequest> requests_;
  std::vector<DrawResult> results_;
};

void CudaBackend::MakeRoom(std::initializer_list<std::size_t> bytes) {
  std::size_t sum = 0;
  for (const std::size_t one : bytes) sum += recording_ ? BucketBytes(one) : one;
  if (ring_.HasRoom(bytes.size(), sum)) return;
  Wait();
  BATON_CHECK(ring_.HasRoom(bytes.size(), sum), "one operation takes {} bytes of arrays, more than {}", sum,
              ring_.Capacity());
}

template <typename T>
T* CudaBackend::Grown(Buffer& buffer, std::size_t bytes, bool pinned) {
  if (buffer.Bytes() < bytes) {
    Wait();
    auto larger = pinned ? device_->AllocatePinned(bytes) : device_->Allocate(bytes);
    if (!larger.ok()) EndOfDevice(larger.status());
    retired_.push_back(std::exchange(buffer, *std::move(larger)));
    if (!pinned) graphs_.Clear();  // steps used the old one
  }
  return buffer.As<T>();
}

Rows CudaBackend::ToHost(Rows rows) {
  if (rows.rows == 0) return rows;
  const auto floats = static_cast<std::size_t>((rows.rows - 1) * rows.stride + rows.columns);
  Rows host = rows;
  EndStep();
  host.data = Grown<float>(host_rows_, floats * sizeof(float), true);
  device_->Copy(host.data, rows.data, floats * sizeof(float));
  Synchronize();
  return host;
}

void CudaBackend::Embed(const WeightView& table, std::span<const TokenId> ids, Rows out) {
  if (ids.empty()) return;
  static_assert(sizeof(TokenId) == sizeof(std::int32_t));
  MakeRoom({ids.size_bytes()});
  EmbedArguments arguments{.table = table.data, .ids = Send(ids), .out = Argument(out)};
  arguments.element = table.dtype == DType::kF32    ? Element::kF32
                      : table.dtype == DType::kBF16 ? Element::kBF16
                                                    : Element::kF16;
  arguments.out.rows = std::ssize(ids);
  Kernels().embed(Main(), arguments);
}

void CudaBackend::MatMul(const PackedMatrix& weight, Rows in, Rows out) {
  const auto& matrix = static_cast<const CudaMatrix&>(weight);
  BATON_CHECK(in.columns == matrix.Columns() && out.columns == matrix.Rows() && in.rows == out.rows);
  if (in.rows == 0) return;
  const ColumnLayout& layout = matrix.Layout();
  const bool f32 = compute_ == ComputeClass::kF32;
  MatMulArguments arguments{.weight = matrix.Data(),
                            .out = out.data,
                            .out_stride = out.stride,
                            .rows = static_cast<int>(in.rows),
                            .outputs = static_cast<int>(matrix.Rows()),
                            .segments = layout.segments};
  std::ranges::copy(f32 ? layout.bounds : layout.chunk_bounds, arguments.bounds);
  if (f32) {
    arguments.in = in.data;
    arguments.in_stride = in.stride;
    arguments.weight_stride = layout.columns;
    Kernels().matmul_f32(Main(), arguments);
    return;
  }
  const int padded = layout.PaddedColumns();
  auto* packed = Grown<std::uint16_t>(
      packed_rows_, std::max<std::size_t>(1, static_cast<std::size_t>(in.rows * padded) * 2));
  float* row_scales = matrix.Scales() == nullptr
                          ? nullptr
                          : Grown<float>(row_scales_, static_cast<std::size_t>(in.rows) * sizeof(float));
  if (padded > 0) {
    PackRowsArguments pack{
        .in = Argument(in), .out = packed, .padded_k = padded, .segments = layout.segments};
    std::ranges::copy(layout.bounds, pack.bounds);
    std::ranges::copy(layout.chunk_bounds, pack.chunk_bounds);
    pack.scales = row_scales;
    (row_scales != nullptr ? Kernels().pack_rows_fp8 : Kernels().pack_rows)(Main(), pack);
  }
  if (fast_ != nullptr && padded > 0) {
    arguments.in = packed;
    arguments.in_stride = padded;
    arguments.weight_stride = padded;
    const absl::Status status =
        fast_->Run(Main(), arguments, matrix.Scales() != nullptr ? Element::kFp8 : Element::kBF16);
    if (!status.ok()) EndOfDevice(status);
    if (matrix.Scales() != nullptr)
      Kernels().scale(Main(), {.x = Argument(out), .rows = row_scales, .columns = matrix.Scales()});
    return;
  }
  const MatMulPlan plan = PlanMatMul(in.rows, out.columns, layout.segments, device_->Facts().processors);
  arguments.in = packed;
  arguments.in_stride = padded;
  arguments.weight_stride = padded;
  arguments.splits = plan.splits;
  if (plan.splits > 1) {
    const std::int64_t floats = plan.splits * in.rows * out.columns;
    arguments.partial = Grown<float>(partials_, static_cast<std::size_t>(floats) * sizeof(float));
  }
  Kernels().matmul(Main(), plan.kernel, arguments);
}

void CudaBackend::Rope(Rows x, int head_dim, std::span<const std::int32_t> positions,
                       std::span<const double> inverse_frequencies) {
  if (positions.empty()) return;
  MakeRoom({positions.size_bytes(), inverse_frequencies.size_bytes()});
  Kernels().rope(Main(), {.x = Argument(x),
                          .head_dim = head_dim,
                          .positions = Send(positions),
                          .frequencies = Send(inverse_frequencies)});
}

/// Fills `slots_` and `sources_`.
void CudaBackend::PlaceTokens(const KvLayer& layer, std::span<const SequenceSlice> slices) {
  BATON_CHECK(layer.block_tokens == kBlockTokens && layer.head_dim <= kHeadDimMax);
  slots_.clear();
  sources_.clear();
  for (const SequenceSlice& slice : slices) {
    for (std::int64_t i = 0; i < slice.tokens; ++i) {
      const std::int64_t position = slice.first_position + i;
      const BlockIndex block = slice.blocks[static_cast<std::size_t>(position / kBlockTokens)];
      slots_.push_back(std::int64_t{block.value} * kBlockTokens + position % kBlockTokens);
      sources_.push_back(static_cast<std::int32_t>(slice.first_row + i));
    }
  }
  while (recording_ && !slots_.empty() && std::ssize(slots_) < step_rows_) {
    slots_.push_back(-1);
    sources_.push_back(0);
  }
}

/// Where the tokens that PlaceTokens has placed go; after MakeRoom.
WriteKvArguments CudaBackend::Places(const KvLayer& layer) {
  return {.base = layer.base,
          .block_bytes = static_cast<std::int64_t>(layer.BlockBytes()),
          .kv_heads = layer.kv_heads,
          .head_dim = layer.head_dim,
          .bf16 = layer.dtype == DType::kBF16,
          .slots = Send(slots_),
          .sources = Send(sources_),
          .count = std::ssize(slots_)};
}

void CudaBackend::WriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices, Rows k, Rows v) {
  PlaceTokens(layer, slices);
  if (slots_.empty()) return;
  MakeRoom({Bytes(slots_).size(), Bytes(sources_).size()});
  WriteKvArguments arguments = Places(layer);
  arguments.k = k.data;
  arguments.k_stride = k.stride;
  arguments.v = v.data;
  arguments.v_stride = v.stride;
  Kernels().write_kv(Main(), arguments);
}

void CudaBackend::RopeAndWriteKv(const KvLayer& layer, std::span<const SequenceSlice> slices,
                                 std::span<const std::int32_t> positions,
                                 std::span<const double> inverse_frequencies, Rows qkv) {
  PlaceTokens(layer, slices);
  if (slots_.empty()) return;
  MakeRoom({Bytes(slots_).size(), Bytes(sources_).size(), positions.size_bytes(),
            inverse_frequencies.size_bytes()});
  RopeWriteArguments arguments{.qkv = Argument(qkv),
                               .positions = Send(positions),
                               .frequencies = Send(inverse_frequencies),
                               .kv = Places(layer)};
  arguments.heads = static_cast<int>(qkv.columns / layer.head_dim) - 2 * layer.kv_heads;
  Kernels().rope_write_kv(Main(), arguments);
}

void CudaBackend::Highest(Rows in, std::int64_t count, std::span<std::int32_t> columns,
                          std::span<float> values) {
  BATON_CHECK(count > 0 && count <= in.columns && std::ssize(columns) == in.rows * count &&
              values.size() == columns.size());
  if (columns.empty()) return;
  EndStep();  // rows are not filled up here
  auto* found = Grown<std::int32_t>(choices_, columns.size_bytes() + values.size_bytes());
  auto* their_values = reinterpret_cast<float*>(found + columns.size());
  Kernels().highest(
      Main(),
      {.in = Argument(in), .count = static_cast<int>(count), .columns = found, .values = their_values});
  device_->Copy(columns.data(), found, columns.size_bytes());
  device_->Copy(values.data(), their_values, values.size_bytes());
  Synchronize();
}

void CudaBackend::Draw(Rows in, std::span<const RowDraw> draws, std::span<DrawnRow> drawn) {
  BATON_CHECK(std::ssize(draws) == in.rows && drawn.size() == draws.size());
  if (draws.empty()) return;
  EndStep();  // rows are not filled up here
  requests_.clear();
  for (const RowDraw& draw : draws)
    requests_.push_back({.temperature = draw.temperature, .least = draw.min_p, .uniform = draw.uniform});
  const std::size_t bytes = draws.size() * sizeof(DrawResult);
  auto* found = Grown<DrawResult>(choices_, bytes);
  MakeRoom({Bytes(requests_).size()});
  Kernels().draw(Main(), {.in = Argument(in), .requests = Send(requests_), .results = found});
  results_.resize(draws.size());
  device_->Copy(results_.data(), found, bytes);
  Synchronize();
  std::ranges::transform(results_, drawn.begin(), [](const DrawResult& result) {
    return DrawnRow{.column = result.column, .total = result.total};
  });
}

void CudaBackend::Attention(const KvLayer& layer, std::span<const SequenceSlice> slices,
                            const AttentionShape& shape, Rows q, Rows out) {
  BATON_CHECK(layer.block_tokens == kBlockTokens && layer.head_dim <= kHeadDimMax);
  const bool f32 = compute_ == ComputeClass::kF32;
  const int many = layer.head_dim <= 128 ? kManyRows : kManyRows / 2;
  const AttentionLimits limits{.group = shape.heads / layer.kv_heads,
                               .kv_heads = layer.kv_heads,
                               .window = shape.window,
                               .many_rows = f32 ? 0 : many,
                               .processors = device_->Facts().processors};
  PlanAttention(slices, limits, plan_);
  if (recording_) {  // by items without rows
    plan_.few.resize(BucketItems(plan_.few.size()));
    plan_.many.resize(BucketItems(plan_.many.size()));
    plan_.combines.resize(BucketItems(plan_.combines.size()));
  }
  const std::int64_t partial_floats = plan_.partial_rows * layer.kv_heads * (layer.head_dim + 2);
  auto* partials =
      Grown<float>(partials_, std::max<std::size_t>(4, static_cast<std::size_t>(partial_floats) * 4));
  MakeRoom({Bytes(plan_.slices).size(), Bytes(plan_.blocks).size(), Bytes(plan_.few).size(),
            Bytes(plan_.many).size(), Bytes(plan_.combines).size()});
  AttentionArguments arguments{.base = layer.base,
                               .block_bytes = static_cast<std::int64_t>(layer.BlockBytes()),
                               .kv_heads = layer.kv_heads,
                               .head_dim = layer.head_dim,
                               .group = limits.group,
                               .scale = shape.scale,
                               .window = shape.window,
                               .slices = Send(plan_.slices),
                               .blocks = Send(plan_.blocks),
                               .q = q.data,
                               .q_stride = q.stride,
                               .out = out.data,
                               .out_stride = out.stride,
                               .partials = partials};
  const auto attend = [&](const std::vector<AttentionItem>& items, AttentionKernel kernel) {
    if (items.empty()) return;
    arguments.items = Send(items);
    arguments.item_count = static_cast<int>(items.size());
    f32 ? Kernels().attend_f32(Main(), arguments) : Kernels().attend(Main(), kernel, arguments);
  };
  attend(plan_.many, AttentionKernel::kManyRows);
  attend(plan_.few, AttentionKernel::kFewRows);
  if (plan_.combines.empty()) return;
  arguments.combines = Send(plan_.combines);
  arguments.combine_count = static_cast<int>(plan_.combines.size());
  Kernels().combine(Main(), arguments);
}

void CudaBackend::ChooseExperts(Rows logits, const ExpertChoice& shape, std::span<std::int32_t> experts,
                                std::span<float> shares) {
  BATON_CHECK(shape.chosen > 0 && shape.chosen <= logits.columns &&
              std::ssize(experts) == logits.rows * shape.chosen && shares.size() == experts.size());
  if (experts.empty()) return;
  auto* chosen = Grown<std::int32_t>(choices_, experts.size_bytes() + shares.size_bytes());
  auto* weights = reinterpret_cast<float*>(chosen + experts.size());
  Kernels().choose_experts(Main(), {.logits = Argument(logits),
                                    .chosen = shape.chosen,
                                    .normalize = shape.normalize,
                                    .experts = chosen,
                                    .shares = weights});
  EndStep();
  device_->Copy(experts.data(), chosen, experts.size_bytes());
  device_->Copy(shares.data(), weights, shares.size_bytes());
  Wait();
}

void CudaBackend::AddScaledRows(Rows x, std::span<const std::int64_t> indices, std::span<const float> shares,
                                Rows y) {
  if (indices.empty()) return;
  MakeRoom({indices.size_bytes(), shares.size_bytes()});
  // A model names rows in ascending order; then each is named once, and all can be added at the same time.
  const bool distinct = std::ranges::adjacent_find(indices, std::greater_equal<>()) == indices.end();
  Kernels().add_scaled_rows(Main(), {.target = Argument(x),
                                     .source = y.data,
                                     .source_stride = y.stride,
                                     .indices = Send(indices),
                                     .shares = Send(shares),
                                     .count = std::ssize(indices),
                                     .distinct = distinct});
}

void CudaBackend::GatherRows(Rows in, std::span<const std::int64_t> indices, Rows out) {
  if (indices.empty()) return;
  MakeRoom({indices.size_bytes()});
  Kernels().gather_rows(Main(), {.target = Argument(out),
                                 .source = in.data,
                                 .source_stride = in.stride,
                                 .indices = Send(indices),
                                 .count = std::ssize(indices)});
}

}  // namespace

absl::Status HasSharedMemory(const DeviceFacts& device) {
  if (device.shared_bytes >= kBlockSharedBytes) return absl::OkStatus();
  return Error(
      kFailedPrecondition,
      "GPU {} ({}, {}) gives a block {} KiB of shared memory, and the kernels take up to {}: those of "
      "data centres (compute capability 8.0 and 9.0) have it",
      device.index, device.name, device.architecture, device.shared_bytes >> 10, kBlockSharedBytes >> 10);
}

absl::Status HasFp8(const DeviceFacts& device) {
  if (device.fp8) return absl::OkStatus();
  return Error(
      kFailedPrecondition,
      "GPU {} ({}, {}) cannot multiply in fp8, which compute.class asks for; compute capability 8.9 is the "
      "least",
      device.index, device.name, device.architecture);
}

Device* DeviceOf(Backend& backend) {
  auto* cuda = dynamic_cast<CudaBackend*>(&backend);
  return cuda != nullptr ? &cuda->GetDevice() : nullptr;
}

absl::StatusOr<std::unique_ptr<Backend>> CreateBackendOn(std::unique_ptr<Device> device,
                                                         const CudaOptions& options,
                                                         std::unique_ptr<FastMatMul> fast) {
  if (options.compute == ComputeClass::kInt8) {
    return Error(kInvalidArgument,
                 "compute.class int8 is the CPU's alone; a GPU computes in bf16, fp8 or f32");
  }
  if (!options.invariant && options.compute == ComputeClass::kF32)
    return Error(kInvalidArgument, "compute.invariant: false is of classes bf16 and fp8, not of f32");
  if (options.invariant && options.compute == ComputeClass::kFp8) {
    return Error(
        kInvalidArgument,
        "compute.class fp8 is multiplied by cuBLASLt, in no fixed order: it needs compute.invariant: false");
  }
  if (options.compute == ComputeClass::kFp8) BATON_RETURN_IF_ERROR(HasFp8(device->Facts()));
  BATON_CHECK(options.invariant == (fast == nullptr));
  BATON_ASSIGN_OR_RETURN(Buffer pinned, device->AllocatePinned(kRingBytes));
  BATON_ASSIGN_OR_RETURN(Buffer twin, device->Allocate(kRingBytes));
  return std::make_unique<CudaBackend>(std::move(device), options, std::move(fast), std::move(pinned),
                                       std::move(twin));
}

}  // namespace cuda

absl::StatusOr<std::string> FindCudaDevice(int device, ComputeClass compute) {
  BATON_ASSIGN_OR_RETURN(const cuda::DeviceFacts facts, cuda::FindDevice(device));
  if (compute == ComputeClass::kFp8) BATON_RETURN_IF_ERROR(cuda::HasFp8(facts));
  return facts.name;
}

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions& options) {
  BATON_ASSIGN_OR_RETURN(auto device, cuda::OpenDevice(options.device));
  std::unique_ptr<cuda::FastMatMul> fast;
  if (!options.invariant) {
    BATON_ASSIGN_OR_RETURN(fast, cuda::OpenCublasLt(*device));
  }
  return cuda::CreateBackendOn(std::move(device), options, std::move(fast));
}

}  // namespace baton::kernels
