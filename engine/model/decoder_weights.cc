#include "engine/model/decoder_weights.h"

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <utility>

#include "common/base/error.h"

namespace baton::engine {
namespace {

/// Some rows of a stored matrix.
struct MatrixRows {
  std::string name;
  std::int64_t stored = 0;  // rows in the file
  Range rows;
};

MatrixRows All(std::string name, std::int64_t rows) {
  return {.name = std::move(name), .stored = rows, .rows = {.first = 0, .count = rows}};
}

/// Finds, checks and packs tensors; one a load.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const Shard& shard, kernels::Backend& backend)
      : checkpoint_(checkpoint), shard_(shard), backend_(backend) {}
  [[nodiscard]] const Shard& GetShard() const { return shard_; }

  absl::StatusOr<std::vector<float>> Vector(const std::string& name, std::int64_t length) const {
    BATON_ASSIGN_OR_RETURN(const StoredTensor tensor, checkpoint_.Tensor(name, std::array{length}));
    return ToFloats(tensor);
  }

  absl::StatusOr<BackendFloats> OnBackend(const std::string& name, std::int64_t length) const {
    BATON_ASSIGN_OR_RETURN(const std::vector<float> values, Vector(name, length));
    return OnBackend(values);
  }
  absl::StatusOr<BackendFloats> OnBackend(std::span<const float> values) const {
    return BackendFloats::Upload(values, backend_);
  }

  /// Rows for look-up, not for a matmul: as they are stored, in the backend's memory.
  absl::StatusOr<kernels::WeightView> Table(const MatrixRows& rows, std::int64_t columns,
                                            kernels::Buffer& buffer) {
    BATON_ASSIGN_OR_RETURN(kernels::WeightView view, Stack(std::array{rows}, columns, scratch_));
    auto uploaded = backend_.Upload(scratch_);
    if (!uploaded.ok()) return Annotate(uploaded.status(), "tensor " + rows.name);
    buffer = *std::move(uploaded);
    view.data = buffer.Region().address;
    return view;
  }

  /// The matrices one below the other in memory of ours: aligned, which a file's bytes need not be.
  absl::StatusOr<kernels::WeightView> Stack(std::span<const MatrixRows> parts, std::int64_t columns,
                                            std::vector<std::byte>& bytes) const {
    kernels::WeightView stacked{.columns = columns};
    bytes.clear();
    for (const MatrixRows& part : parts) {
      BATON_ASSIGN_OR_RETURN(const StoredTensor tensor,
                             checkpoint_.Tensor(part.name, std::array{part.stored, columns}));
      if (stacked.rows > 0 && tensor.dtype != stacked.dtype) {
        return Error(kUnimplemented, "tensor {} is {}, but {} is {}: one type is supported for both",
                     part.name, kernels::Name(tensor.dtype), parts.front().name,
                     kernels::Name(stacked.dtype));
      }
      stacked.dtype = tensor.dtype;
      stacked.rows += part.rows.count;
      const auto row_bytes = static_cast<std::size_t>(columns) * kernels::SizeOf(tensor.dtype);
      const auto rows = tensor.bytes.subspan(static_cast<std::size_t>(part.rows.first) * row_bytes,
                                             static_cast<std::size_t>(part.rows.count) * row_bytes);
      bytes.insert(bytes.end(), rows.begin(), rows.end());
    }
    stacked.data = bytes.data();
    return stacked;
  }

  /// For a matmul of whole inputs.
  absl::StatusOr<std::unique_ptr<kernels::PackedMatrix>> Pack(std::span<const MatrixRows> parts,
                                                              std::int64_t columns) {
    return PackWith(parts, columns, {});
  }
  /// For a matmul whose result decides which part of the model runs, or how much of it counts: never rounded
  /// to 8 bits, since an error there is not one among many.
  absl::StatusOr<std::unique_ptr<kernels::PackedMatrix>> PackGate(const MatrixRows& part,
                                                                  std::int64_t columns) {
    return PackWith(std::array{part}, columns, {.may_quantize = false});
  }
  /// For a matmul of this rank's share of the inputs, whose results the ranks add up.
  absl::StatusOr<std::unique_ptr<kernels::PackedMatrix>> PackShare(const MatrixRows& part,
                                                                   std::int64_t columns) {
    return PackWith(std::array{part}, columns, {.segments = shard_.Segments()});
  }

 private:
  absl::StatusOr<std::unique_ptr<kernels::PackedMatrix>> PackWith(std::span<const MatrixRows> parts,
                                                                  std::int64_t columns,
                                                                  const kernels::PackOptions& options) {
    BATON_ASSIGN_OR_RETURN(const kernels::WeightView view, Stack(parts, columns, scratch_));
    auto packed = backend_.Pack(view, options);
    if (!packed.ok()) return Annotate(packed.status(), "tensor " + parts.front().name);
    return packed;
  }

  const Checkpoint& checkpoint_;
  const Shard shard_;
  kernels::Backend& backend_;
  std::vector<std::byte> scratch_;
};

struct MlpNames {
  std::string gate, up, down;
};

/// Biases of the MLP at `prefix`, where a model has them.
absl::Status LoadMlpBiases(const std::string& prefix, const MlpNames& names, std::int64_t hidden,
                           std::int64_t width, Loader& loader, MlpWeights& weights) {
  const Range inner = loader.GetShard().InnerColumns(width);
  std::vector<float> gate_up;
  for (const std::string& name : {names.gate, names.up}) {
    BATON_ASSIGN_OR_RETURN(const std::vector<float> bias, loader.Vector(prefix + name + ".bias", width));
    gate_up.insert(gate_up.end(), bias.begin() + inner.first, bias.begin() + inner.first + inner.count);
  }
  BATON_ASSIGN_OR_RETURN(weights.gate_up_bias, loader.OnBackend(gate_up));
  BATON_ASSIGN_OR_RETURN(weights.down_bias, loader.OnBackend(prefix + names.down + ".bias", hidden));
  return absl::OkStatus();
}

absl::StatusOr<MlpWeights> LoadMlp(const std::string& prefix, const MlpNames& names, std::int64_t hidden,
                                   std::int64_t width, Loader& loader) {
  const Range inner = loader.GetShard().InnerColumns(width);
  const std::array gate_up{MatrixRows{prefix + names.gate + ".weight", width, inner},
                           MatrixRows{prefix + names.up + ".weight", width, inner}};
  MlpWeights weights;
  BATON_ASSIGN_OR_RETURN(weights.gate_up, loader.Pack(gate_up, hidden));
  BATON_ASSIGN_OR_RETURN(weights.down, loader.PackShare(All(prefix + names.down + ".weight", hidden), width));
  return weights;
}

absl::StatusOr<std::unique_ptr<ExpertWeights>> LoadExperts(const ModelConfig& config,
                                                           const std::string& layer, Loader& loader) {
  const ExpertsConfig& experts = config.experts;
  const std::string prefix = layer + experts.block + ".";
  auto weights = std::make_unique<ExpertWeights>();
  BATON_ASSIGN_OR_RETURN(weights->router,
                         loader.PackGate(All(prefix + "gate.weight", experts.count), config.hidden));
  for (int expert = 0; expert < experts.count; ++expert) {
    BATON_ASSIGN_OR_RETURN(MlpWeights loaded, LoadMlp(fmt::format("{}experts.{}.", prefix, expert),
                                                      {experts.gate, experts.up, experts.down}, config.hidden,
                                                      experts.intermediate, loader));
    weights->experts.push_back(std::move(loaded));
  }
  if (experts.shared_intermediate == 0) return weights;
  BATON_ASSIGN_OR_RETURN(weights->shared,
                         LoadMlp(prefix + "shared_expert.", {experts.gate, experts.up, experts.down},
                                 config.hidden, experts.shared_intermediate, loader));
  BATON_ASSIGN_OR_RETURN(weights->shared_gate,
                         loader.PackGate(All(prefix + "shared_expert_gate.weight", 1), config.hidden));
  return weights;
}

absl::Status LoadAttention(const ModelConfig& config, const std::string& prefix, Loader& loader,
                           LayerWeights& weights) {
  const std::int64_t query_width = std::int64_t{config.heads} * config.head_dim;
  const std::int64_t kv_width = std::int64_t{config.kv_heads} * config.head_dim;
  const Shard& shard = loader.GetShard();
  const std::int64_t kv_held = std::int64_t{KvHeadsPerRank(config, shard.ranks)} * config.head_dim;
  const Range keys{.first = std::int64_t{config.kv_heads} * shard.rank / shard.ranks * config.head_dim,
                   .count = kv_held};
  const std::array parts{std::tuple{"q", query_width, shard.Of(query_width)}, std::tuple{"k", kv_width, keys},
                         std::tuple{"v", kv_width, keys}};
  std::vector<MatrixRows> qkv;
  std::vector<float> qkv_bias;
  for (const auto& [part, width, rows] : parts) {
    qkv.push_back({fmt::format("{}{}_proj.weight", prefix, part), width, rows});
    if (!config.qkv_bias) continue;
    BATON_ASSIGN_OR_RETURN(const std::vector<float> bias,
                           loader.Vector(fmt::format("{}{}_proj.bias", prefix, part), width));
    qkv_bias.insert(qkv_bias.end(), bias.begin() + rows.first, bias.begin() + rows.first + rows.count);
  }
  if (!qkv_bias.empty()) {
    BATON_ASSIGN_OR_RETURN(weights.qkv_bias, loader.OnBackend(qkv_bias));
  }
  BATON_ASSIGN_OR_RETURN(weights.qkv, loader.Pack(qkv, config.hidden));
  if (config.qk_norm) {
    BATON_ASSIGN_OR_RETURN(weights.query_norm, loader.OnBackend(prefix + "q_norm.weight", config.head_dim));
    BATON_ASSIGN_OR_RETURN(weights.key_norm, loader.OnBackend(prefix + "k_norm.weight", config.head_dim));
  }
  BATON_ASSIGN_OR_RETURN(weights.output,
                         loader.PackShare(All(prefix + "o_proj.weight", config.hidden), query_width));
  if (config.output_bias) {
    BATON_ASSIGN_OR_RETURN(weights.output_bias, loader.OnBackend(prefix + "o_proj.bias", config.hidden));
  }
  return absl::OkStatus();
}

absl::StatusOr<LayerWeights> LoadLayer(const ModelConfig& config, int layer, Loader& loader) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  LayerWeights weights;
  BATON_ASSIGN_OR_RETURN(weights.attention_norm,
                         loader.OnBackend(prefix + "input_layernorm.weight", config.hidden));
  BATON_RETURN_IF_ERROR(LoadAttention(config, prefix + "self_attn.", loader, weights));
  BATON_ASSIGN_OR_RETURN(weights.mlp_norm,
                         loader.OnBackend(prefix + "post_attention_layernorm.weight", config.hidden));
  if (config.has_experts[static_cast<std::size_t>(layer)]) {
    BATON_ASSIGN_OR_RETURN(weights.experts, LoadExperts(config, prefix, loader));
  } else {
    const std::string mlp = prefix + "mlp.";
    const MlpNames names{"gate_proj", "up_proj", "down_proj"};
    BATON_ASSIGN_OR_RETURN(weights.mlp, LoadMlp(mlp, names, config.hidden, config.intermediate, loader));
    if (!config.mlp_bias) return weights;
    BATON_RETURN_IF_ERROR(LoadMlpBiases(mlp, names, config.hidden, config.intermediate, loader, weights.mlp));
  }
  return weights;
}

}  // namespace

absl::StatusOr<BackendFloats> BackendFloats::Upload(std::span<const float> values,
                                                    kernels::Backend& backend) {
  BackendFloats floats;
  BATON_ASSIGN_OR_RETURN(floats.buffer_, backend.Upload(std::as_bytes(values)));
  floats.count_ = values.size();
  return floats;
}

Range Shard::Of(std::int64_t count) const {
  const std::int64_t first = count * rank / ranks;
  return {.first = first, .count = count * (rank + 1) / ranks - first};
}

kernels::SegmentRange Shard::Segments() const {
  const int each = kernels::kReductionSegments / ranks;
  return {.first = each * rank, .count = each};
}

Range Shard::InnerColumns(std::int64_t columns) const {
  const auto bounds = kernels::SegmentBounds(columns);
  const kernels::SegmentRange segments = Segments();
  const std::int64_t first = bounds[static_cast<std::size_t>(segments.first)];
  const std::int64_t end = bounds[static_cast<std::size_t>(segments.first + segments.count)];
  return {.first = first, .count = std::min(end, columns) - first};
}

int KvHeadsPerRank(const ModelConfig& config, int ranks) {
  return ranks > config.kv_heads ? 1 : config.kv_heads / ranks;
}

absl::StatusOr<DecoderWeights> LoadDecoderWeights(const ModelConfig& config, const Checkpoint& checkpoint,
                                                  const Shard& shard, kernels::Backend& backend) {
  if (config.kv_heads % shard.ranks != 0 && shard.ranks % config.kv_heads != 0) {
    return Error(kInvalidArgument, "{} ranks and the model's {} key-value heads do not divide each other",
                 shard.ranks, config.kv_heads);
  }
  if (config.heads % shard.ranks != 0) {
    return Error(kInvalidArgument, "{} ranks do not divide the model's {} heads", shard.ranks, config.heads);
  }
  Loader loader(checkpoint, shard, backend);
  DecoderWeights weights;
  const MatrixRows embedding = All("model.embed_tokens.weight", config.vocabulary);
  BATON_ASSIGN_OR_RETURN(weights.embedding, loader.Table(embedding, config.hidden, weights.embedding_bytes));
  for (int layer = 0; layer < config.layers; ++layer) {
    BATON_ASSIGN_OR_RETURN(LayerWeights loaded, LoadLayer(config, layer, loader));
    weights.layers.push_back(std::move(loaded));
  }
  BATON_ASSIGN_OR_RETURN(weights.final_norm, loader.OnBackend("model.norm.weight", config.hidden));
  const std::array head{MatrixRows{config.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
                                   config.vocabulary, shard.Of(config.vocabulary)}};
  BATON_ASSIGN_OR_RETURN(weights.head, loader.Pack(head, config.hidden));
  return weights;
}

}  // namespace baton::engine
