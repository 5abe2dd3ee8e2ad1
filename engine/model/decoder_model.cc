#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "engine/model/decoder_weights.h"
#include "engine/model/model.h"
#include "engine/model/model_files.h"

namespace baton::engine {
namespace {

using kernels::Rows;

/// The first `rows` rows of `all`.
Rows Top(const Rows& all, std::int64_t rows) {
  return {all.data, rows, all.columns, all.stride};
}
/// Columns [first, first + count) of `all`.
Rows Columns(const Rows& all, std::int64_t first, std::int64_t count) {
  return {all.data + first, all.rows, count, all.stride};
}

/// Activations of a step of at most `max_rows` rows; allocated once. The logits' pages are touched only as
/// far as used.
struct Activations {
  kernels::Buffer buffer;
  Rows state;       // the residual stream, [rows, hidden]
  Rows normed;      // [rows, hidden]
  Rows qkv;         // [rows, (heads + 2 kv_heads) * head_dim]
  Rows mixed;       // attention's result, [rows, heads * head_dim]
  Rows gate_up;     // [rows, 2 * width of the widest MLP]
  Rows inner;       // [rows, that width]
  Rows router;      // [rows, experts]
  Rows expert_in;   // rows that one expert computes, [rows, hidden]
  Rows expert_out;  // [rows, hidden]
  Rows tail_state;  // the last layer's rows that get logits, [rows, hidden]
  Rows tail_mixed;  // [rows, heads * head_dim]
  Rows logits;      // [rows, vocabulary]
  Rows part;        // this rank's logits where there are several, [rows, its share of the vocabulary]

  static absl::StatusOr<Activations> Create(const ModelConfig& config, const Shard& shard,
                                            std::int64_t max_rows, kernels::Backend& backend) {
    const std::int64_t queries = shard.Of(std::int64_t{config.heads} * config.head_dim).count;
    const std::int64_t keys = std::int64_t{KvHeadsPerRank(config, shard.ranks)} * config.head_dim;
    const ExpertsConfig& experts = config.experts;
    const auto width = [&](std::int64_t all) { return shard.InnerColumns(all).count; };
    const std::int64_t inner = std::max(
        {width(config.intermediate), width(experts.intermediate), width(experts.shared_intermediate)});
    const std::int64_t part = shard.ranks > 1 ? shard.Of(config.vocabulary).count : 0;
    const std::int64_t expert_hidden = experts.count > 0 ? config.hidden : 0;
    Activations all;
    const std::pair<Rows*, std::int64_t> widths[] = {{&all.state, config.hidden},
                                                     {&all.normed, config.hidden},
                                                     {&all.qkv, queries + 2 * keys},
                                                     {&all.mixed, queries},
                                                     {&all.gate_up, 2 * inner},
                                                     {&all.inner, inner},
                                                     {&all.router, experts.count},
                                                     {&all.expert_in, expert_hidden},
                                                     {&all.expert_out, expert_hidden},
                                                     {&all.tail_state, config.hidden},
                                                     {&all.tail_mixed, queries},
                                                     {&all.logits, config.vocabulary},
                                                     {&all.part, part}};
    std::int64_t floats = 0;
    for (const auto& [rows, columns] : widths) floats += Stride(columns) * max_rows;
    auto buffer = backend.Allocate(static_cast<std::size_t>(floats) * sizeof(float));
    if (!buffer.ok()) return Annotate(buffer.status(), "activations");
    all.buffer = *std::move(buffer);
    float* next = all.buffer.As<float>();
    for (const auto& [rows, columns] : widths) {
      *rows = {.data = next, .rows = max_rows, .columns = columns, .stride = Stride(columns)};
      next += Stride(columns) * max_rows;
    }
    return all;
  }

 private:
  // Rows begin on cache lines (16 floats).
  static std::int64_t Stride(std::int64_t columns) { return (columns + 15) / 16 * 16; }
};

/// Tells of layers in order, each as soon as the device has come to its end, while later ones are being
/// enqueued.
class LayerReports {
 public:
  /// `marks` is room for one of each layer.
  LayerReports(kernels::Backend& backend, const LayerDone& done, std::vector<std::uint64_t>& marks)
      : backend_(backend), done_(done), marks_(marks) {
    marks_.clear();
  }
  /// The next layer's KV is in the queue.
  void Written() {
    if (!done_) return;
    marks_.push_back(backend_.Mark());
    while (told_ < marks_.size() && backend_.Reached(marks_[told_])) Tell();
  }
  /// Everything is in the queue: waits for those that are not told yet.
  void Finish() {
    while (told_ < marks_.size()) {
      backend_.Await(marks_[told_]);
      Tell();
    }
  }

 private:
  void Tell() { done_(static_cast<int>(told_++)); }

  kernels::Backend& backend_;
  const LayerDone& done_;
  std::vector<std::uint64_t>& marks_;
  std::size_t told_ = 0;
};

/// A decoder-only transformer on any backend. Which parts it has is in config and weights alone.
class DecoderModel final : public Model {
 public:
  DecoderModel(ModelConfig config, DecoderWeights weights, Activations activations, std::uint64_t fingerprint,
               kernels::Backend& backend, kernels::Communicator* communicator)
      : config_(std::move(config)),
        weights_(std::move(weights)),
        activations_(std::move(activations)),
        frequencies_(InverseFrequencies(config_)),
        fingerprint_(fingerprint),
        backend_(backend),
        communicator_(communicator),
        ranks_(communicator != nullptr ? communicator->Size() : 1),
        attention_{.heads = config_.heads / ranks_,
                   .scale = static_cast<float>(config_.rope_magnitude * config_.rope_magnitude) /
                            std::sqrt(static_cast<float>(config_.head_dim))} {
    const std::size_t choices =
        static_cast<std::size_t>(config_.experts.chosen) * static_cast<std::size_t>(activations_.state.rows);
    chosen_.resize(choices);
    shares_.resize(choices);
    expert_rows_.resize(static_cast<std::size_t>(config_.experts.count));
    expert_shares_.resize(static_cast<std::size_t>(config_.experts.count));
  }

  [[nodiscard]] const ModelConfig& Config() const override { return config_; }
  [[nodiscard]] std::uint64_t Fingerprint() const override { return fingerprint_; }
  [[nodiscard]] std::string NumericsClass() const override {
    const bool unordered = communicator_ != nullptr && !communicator_->KeepsOrder();
    return fmt::format("{}/weights-{}/kv-{}/k{}t{}{}", backend_.Name(),
                       kernels::Name(weights_.embedding.dtype), kernels::Name(backend_.KvType()),
                       kernels::kReductionSegments, kernels::kAttentionTile,
                       unordered ? fmt::format("/ranks{}", ranks_) : "");
  }

  void EnterThread() override { backend_.EnterThread(); }
  Rows ReadLogits(const Rows& rows) override {
    return backend_.Memory() == MemoryKind::kDevice ? backend_.ToHost(rows) : rows;
  }

  Rows Forward(const StepBatch& batch, const KvArena& arena, const LayerDone& layer_done) override {
    Check(batch, arena);
    const std::int64_t rows = BeginStep(batch, static_cast<bool>(layer_done));
    LayerReports reports(backend_, layer_done, marks_);
    Rows state = Top(activations_.state, rows);
    Rows mixed = Top(activations_.mixed, rows);
    backend_.Embed(weights_.embedding, tokens_, state);
    for (int layer = 0; layer < config_.layers; ++layer) {
      const LayerWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
      const bool last = layer + 1 == config_.layers;
      const Rows qkv = ProjectQkv(weights, state);
      backend_.RopeAndWriteKv(arena.Layer(layer), batch.slices, positions_, frequencies_, qkv);
      reports.Written();
      if (last && batch.logit_rows.empty()) break;  // nothing past this layer's KV is wanted
      attention_.window = config_.windows[static_cast<std::size_t>(layer)];
      backend_.Attention(arena.Layer(layer), batch.slices, attention_, Columns(qkv, 0, mixed.columns), mixed);
      if (last) KeepLogitRows(batch, state, mixed);
      AddMlps(weights, AddOutput(weights, mixed, state), state);
    }
    return Logits(batch, state, reports);
  }

 private:
  /// Sets the step's tokens and positions; returns its rows. Where every row is a token of a sequence of its
  /// own, a device may want some rows more, which are computed for nobody.
  std::int64_t BeginStep(const StepBatch& batch, bool reports) {
    const std::int64_t rows = std::ssize(batch.tokens);
    tokens_ = batch.tokens;
    positions_ = batch.positions;
    // Experts are chosen on the host, ranks meet there: such a step is not one piece of work.
    if (reports || communicator_ != nullptr || config_.experts.count > 0) return rows;
    if (std::ssize(batch.slices) != rows || std::ssize(batch.logit_rows) != rows) return rows;
    const std::int64_t filled = backend_.BeginStep(rows, activations_.state.rows);
    if (filled == rows) return rows;
    filled_tokens_.assign(batch.tokens.begin(), batch.tokens.end());
    filled_tokens_.resize(static_cast<std::size_t>(filled));
    filled_positions_.assign(batch.positions.begin(), batch.positions.end());
    filled_positions_.resize(static_cast<std::size_t>(filled));
    tokens_ = filled_tokens_;
    positions_ = filled_positions_;
    return filled;
  }

  void Check(const StepBatch& batch, const KvArena& arena) const {
    BATON_CHECK(static_cast<std::int64_t>(batch.tokens.size()) <= activations_.state.rows,
                "{} rows, room for {}", batch.tokens.size(), activations_.state.rows);
    BATON_CHECK(batch.positions.size() == batch.tokens.size());
    const KvGeometry& geometry = arena.Geometry();
    BATON_CHECK(geometry.layers == config_.layers && geometry.kv_heads == KvHeadsPerRank(config_, ranks_) &&
                    geometry.head_dim == config_.head_dim && geometry.dtype == backend_.KvType() &&
                    geometry.ranks == 1,
                "the KV arena has another shape than the model");
  }

  /// Queries, keys and values of `state`, side by side.
  Rows ProjectQkv(const LayerWeights& weights, const Rows& state) {
    const Rows normed = Top(activations_.normed, state.rows);
    const Rows qkv = Top(activations_.qkv, state.rows);
    backend_.RmsNorm(state, weights.attention_norm, config_.rms_epsilon, normed);
    backend_.MatMul(*weights.qkv, normed, qkv);
    const std::int64_t queries = activations_.mixed.columns;
    if (!weights.qkv_bias.empty()) backend_.AddBias(qkv, weights.qkv_bias);
    if (!weights.query_norm.empty()) {
      backend_.RmsNormHeads(Columns(qkv, 0, queries), config_.head_dim, weights.query_norm,
                            config_.rms_epsilon);
      backend_.RmsNormHeads(Columns(qkv, queries, KeyWidth()), config_.head_dim, weights.key_norm,
                            config_.rms_epsilon);
    }
    return qkv;
  }

  /// After the last attention only the rows that get logits go on.
  void KeepLogitRows(const StepBatch& batch, Rows& state, Rows& mixed) {
    const auto rows = static_cast<std::int64_t>(batch.logit_rows.size());
    if (rows == std::ssize(batch.tokens)) return;
    const Rows tail_state = Top(activations_.tail_state, rows);
    const Rows tail_mixed = Top(activations_.tail_mixed, rows);
    backend_.GatherRows(state, batch.logit_rows, tail_state);
    backend_.GatherRows(mixed, batch.logit_rows, tail_mixed);
    state = tail_state;
    mixed = tail_mixed;
  }

  /// Adds attention's result to `state`; returns what the MLPs see: the sum, normed.
  Rows AddOutput(const LayerWeights& weights, const Rows& mixed, const Rows& state) {
    const Rows projected = Top(activations_.normed, state.rows);
    backend_.MatMul(*weights.output, mixed, projected);
    AddUpRanks(projected);
    if (!weights.output_bias.empty()) backend_.AddBias(projected, weights.output_bias);
    backend_.AddRmsNorm(state, projected, weights.mlp_norm, config_.rms_epsilon, projected);
    return projected;
  }

  void AddMlps(const LayerWeights& weights, const Rows& normed, const Rows& state) {
    if (weights.experts != nullptr) return AddExperts(*weights.experts, normed, state);
    Mlp(weights.mlp, normed, normed);
    backend_.Add(state, normed);
  }

  /// Each rank's `x` is its share of a sum.
  void AddUpRanks(const Rows& x) {
    if (communicator_ != nullptr) communicator_->SumInOrder(x);
  }

  /// `out` may be `in`.
  void Mlp(const MlpWeights& weights, const Rows& in, const Rows& out) {
    const Rows gate_up = Columns(Top(activations_.gate_up, in.rows), 0, 2 * weights.Width());
    const Rows inner = Columns(Top(activations_.inner, in.rows), 0, weights.Width());
    backend_.MatMul(*weights.gate_up, in, gate_up);
    if (!weights.gate_up_bias.empty()) backend_.AddBias(gate_up, weights.gate_up_bias);
    backend_.SwiGlu(gate_up, inner);
    backend_.MatMul(*weights.down, inner, out);
    AddUpRanks(out);
    if (!weights.down_bias.empty()) backend_.AddBias(out, weights.down_bias);
  }

  /// Each expert computes the rows that chose it; a row adds its experts up in their order.
  void AddExperts(const ExpertWeights& weights, const Rows& normed, const Rows& state) {
    ChooseExperts(weights, normed);
    for (std::size_t expert = 0; expert < weights.experts.size(); ++expert) {
      const std::vector<std::int64_t>& rows = expert_rows_[expert];
      if (rows.empty()) continue;
      const Rows in = Top(activations_.expert_in, std::ssize(rows));
      const Rows out = Top(activations_.expert_out, std::ssize(rows));
      backend_.GatherRows(normed, rows, in);
      Mlp(weights.experts[expert], in, out);
      backend_.AddScaledRows(state, rows, expert_shares_[expert], out);
    }
    if (weights.shared_gate == nullptr) return;
    const Rows gate = Columns(Top(activations_.router, state.rows), 0, 1);
    const Rows out = Top(activations_.expert_out, state.rows);
    backend_.MatMul(*weights.shared_gate, normed, gate);
    Mlp(weights.shared, normed, out);
    backend_.GateRows(out, gate);
    backend_.Add(state, out);
  }

  /// Fills `expert_rows_` and `expert_shares_`.
  void ChooseExperts(const ExpertWeights& weights, const Rows& normed) {
    const Rows router = Top(activations_.router, normed.rows);
    const auto chosen = static_cast<std::size_t>(config_.experts.chosen);
    const std::size_t choices = chosen * static_cast<std::size_t>(normed.rows);
    backend_.MatMul(*weights.router, normed, router);
    backend_.ChooseExperts(router, {.chosen = config_.experts.chosen, .normalize = config_.experts.normalize},
                           std::span(chosen_).first(choices), std::span(shares_).first(choices));
    for (auto& rows : expert_rows_) rows.clear();
    for (auto& shares : expert_shares_) shares.clear();
    for (std::size_t i = 0; i < choices; ++i) {
      const auto expert = static_cast<std::size_t>(chosen_[i]);
      expert_rows_[expert].push_back(static_cast<std::int64_t>(i / chosen));
      expert_shares_[expert].push_back(shares_[i]);
    }
  }

  Rows Logits(const StepBatch& batch, const Rows& state, LayerReports& reports) {
    const auto rows = static_cast<std::int64_t>(batch.logit_rows.size());
    const Rows logits = Top(activations_.logits, rows > 0 ? state.rows : 0);
    const Rows mine = ranks_ > 1 ? Top(activations_.part, logits.rows) : logits;
    if (rows > 0) {
      const Rows normed = Top(activations_.normed, state.rows);
      backend_.RmsNorm(state, weights_.final_norm, config_.rms_epsilon, normed);
      backend_.MatMul(*weights_.head, normed, mine);
      if (ranks_ > 1) communicator_->AllGather(mine, logits);
    }
    reports.Finish();
    const Rows wanted = Top(logits, rows);
    if (rows == 0) {
      backend_.Synchronize();
    } else if (batch.chosen == nullptr || backend_.Memory() != MemoryKind::kDevice) {
      return backend_.ToHost(wanted);
    } else if (communicator_ != nullptr && communicator_->Rank() > 0) {
      backend_.Synchronize();  // the first rank tells them
    } else {
      FillIn(wanted, *batch.chosen);
    }
    return wanted;
  }

  void FillIn(const Rows& logits, ChosenLogits& chosen) {
    chosen.filled = true;
    chosen.tokens.resize(static_cast<std::size_t>(logits.rows * chosen.count));
    chosen.logits.resize(chosen.tokens.size());
    if (chosen.count > 0) backend_.Highest(logits, chosen.count, chosen.tokens, chosen.logits);
    chosen.drawn.resize(chosen.draws.size());
    if (!chosen.draws.empty()) backend_.Draw(logits, chosen.draws, chosen.drawn);
    if (chosen.count == 0 && chosen.draws.empty()) backend_.Synchronize();
  }

  [[nodiscard]] std::int64_t KeyWidth() const {
    return std::int64_t{KvHeadsPerRank(config_, ranks_)} * config_.head_dim;
  }

  ModelConfig config_;
  DecoderWeights weights_;
  Activations activations_;
  std::vector<double> frequencies_;
  std::uint64_t fingerprint_;
  kernels::Backend& backend_;
  kernels::Communicator* communicator_;  // null: one rank
  int ranks_;
  kernels::AttentionShape attention_;
  // Of the step, with the rows that fill it up.
  std::span<const TokenId> tokens_;
  std::span<const std::int32_t> positions_;
  std::vector<TokenId> filled_tokens_;
  std::vector<std::int32_t> filled_positions_;
  std::vector<std::uint64_t> marks_;  // of the step's layers, where they are reported
  // The experts of a step's rows, kept between steps.
  std::vector<std::int32_t> chosen_;  // [row][chosen]
  std::vector<float> shares_;
  std::vector<std::vector<std::int64_t>> expert_rows_;  // per expert
  std::vector<std::vector<float>> expert_shares_;
};

absl::StatusOr<std::unique_ptr<Model>> Load(const std::string& directory, kernels::Backend& backend,
                                            kernels::Communicator* communicator, std::int64_t max_rows) {
  BATON_CHECK(max_rows > 0);
  Shard shard;
  if (communicator != nullptr) shard = {.rank = communicator->Rank(), .ranks = communicator->Size()};
  BATON_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(directory));
  BATON_ASSIGN_OR_RETURN(const std::string config_text, ReadSmallFile(directory + "/config.json"));
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(directory));
  auto weights = LoadDecoderWeights(config, checkpoint, shard, backend);
  if (!weights.ok()) return weights.status();
  BATON_ASSIGN_OR_RETURN(Activations activations, Activations::Create(config, shard, max_rows, backend));
  const bool on_gpu = backend.Memory() == MemoryKind::kDevice;
  if (communicator != nullptr && communicator->IsForGpus() != on_gpu) {
    return Error(kInvalidArgument, "rank {} computes on {}: its communicator does not reach that memory",
                 shard.rank, backend.Name());
  }
  const std::uint64_t fingerprint =
      Mix64(checkpoint.Fingerprint() ^ Mix64(Crc32c(std::as_bytes(std::span(config_text)))));
  return std::make_unique<DecoderModel>(std::move(config), *std::move(weights), std::move(activations),
                                        fingerprint, backend, communicator);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& directory, kernels::Backend& backend,
                                                 std::int64_t max_rows) {
  return Load(directory, backend, nullptr, max_rows);
}

absl::StatusOr<std::unique_ptr<Model>> LoadModelShare(const std::string& directory, kernels::Backend& backend,
                                                      kernels::Communicator& communicator,
                                                      std::int64_t max_rows) {
  return Load(directory, backend, &communicator, max_rows);
}

}  // namespace baton::engine
