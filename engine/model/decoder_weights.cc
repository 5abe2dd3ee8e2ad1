#include "engine/model/decoder_weights.h"

#include <array>
#include <string>
#include <utility>

#include "common/base/error.h"

namespace baton::engine {
namespace {

struct MatrixName {
  std::string name;
  std::int64_t rows = 0;
};

/// Finds, checks and packs tensors; one a load.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, kernels::Backend& backend)
      : checkpoint_(checkpoint), backend_(backend) {}

  absl::StatusOr<std::vector<float>> Vector(const std::string& name, std::int64_t length) const {
    BATON_ASSIGN_OR_RETURN(const StoredTensor tensor, checkpoint_.Tensor(name, std::array{length}));
    return ToFloats(tensor);
  }

  /// The matrices one below the other in memory of ours: aligned, which a file's bytes need not be.
  absl::StatusOr<kernels::WeightView> Stack(std::span<const MatrixName> parts, std::int64_t columns,
                                            std::vector<std::byte>& bytes) const {
    kernels::WeightView stacked{.columns = columns};
    bytes.clear();
    for (const MatrixName& part : parts) {
      BATON_ASSIGN_OR_RETURN(const StoredTensor tensor,
                             checkpoint_.Tensor(part.name, std::array{part.rows, columns}));
      if (stacked.rows > 0 && tensor.dtype != stacked.dtype) {
        return Error(kUnimplemented, "tensor {} is {}, but {} is {}: one type is supported for both",
                     part.name, kernels::Name(tensor.dtype), parts.front().name,
                     kernels::Name(stacked.dtype));
      }
      stacked.dtype = tensor.dtype;
      stacked.rows += part.rows;
      bytes.insert(bytes.end(), tensor.bytes.begin(), tensor.bytes.end());
    }
    stacked.data = bytes.data();
    return stacked;
  }

  absl::StatusOr<std::unique_ptr<kernels::PackedMatrix>> Pack(std::span<const MatrixName> parts,
                                                              std::int64_t columns) {
    BATON_ASSIGN_OR_RETURN(const kernels::WeightView view, Stack(parts, columns, scratch_));
    auto packed = backend_.Pack(view);
    if (!packed.ok()) return Annotate(packed.status(), "tensor " + parts.front().name);
    return packed;
  }

 private:
  const Checkpoint& checkpoint_;
  kernels::Backend& backend_;
  std::vector<std::byte> scratch_;
};

struct MlpNames {
  std::string gate, up, down;
};

absl::StatusOr<MlpWeights> LoadMlp(const std::string& prefix, const MlpNames& names, std::int64_t hidden,
                                   std::int64_t width, Loader& loader) {
  const std::array gate_up{MatrixName{prefix + names.gate + ".weight", width},
                           MatrixName{prefix + names.up + ".weight", width}};
  const std::array down{MatrixName{prefix + names.down + ".weight", hidden}};
  MlpWeights weights;
  BATON_ASSIGN_OR_RETURN(weights.gate_up, loader.Pack(gate_up, hidden));
  BATON_ASSIGN_OR_RETURN(weights.down, loader.Pack(down, width));
  return weights;
}

absl::StatusOr<std::unique_ptr<ExpertWeights>> LoadExperts(const ModelConfig& config,
                                                           const std::string& layer, Loader& loader) {
  const ExpertsConfig& experts = config.experts;
  const std::string prefix = layer + experts.block + ".";
  auto weights = std::make_unique<ExpertWeights>();
  BATON_ASSIGN_OR_RETURN(
      weights->router,
      loader.Pack(std::array{MatrixName{prefix + "gate.weight", experts.count}}, config.hidden));
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
  BATON_ASSIGN_OR_RETURN(
      weights->shared_gate,
      loader.Pack(std::array{MatrixName{prefix + "shared_expert_gate.weight", 1}}, config.hidden));
  return weights;
}

absl::Status LoadAttention(const ModelConfig& config, const std::string& prefix, Loader& loader,
                           LayerWeights& weights) {
  const std::int64_t query_width = std::int64_t{config.heads} * config.head_dim;
  const std::int64_t kv_width = std::int64_t{config.kv_heads} * config.head_dim;
  const std::array parts{std::pair{"q", query_width}, std::pair{"k", kv_width}, std::pair{"v", kv_width}};
  std::vector<MatrixName> qkv;
  for (const auto& [part, width] : parts) {
    qkv.push_back({fmt::format("{}{}_proj.weight", prefix, part), width});
    if (!config.qkv_bias) continue;
    BATON_ASSIGN_OR_RETURN(const std::vector<float> bias,
                           loader.Vector(fmt::format("{}{}_proj.bias", prefix, part), width));
    weights.qkv_bias.insert(weights.qkv_bias.end(), bias.begin(), bias.end());
  }
  BATON_ASSIGN_OR_RETURN(weights.qkv, loader.Pack(qkv, config.hidden));
  if (config.qk_norm) {
    BATON_ASSIGN_OR_RETURN(weights.query_norm, loader.Vector(prefix + "q_norm.weight", config.head_dim));
    BATON_ASSIGN_OR_RETURN(weights.key_norm, loader.Vector(prefix + "k_norm.weight", config.head_dim));
  }
  BATON_ASSIGN_OR_RETURN(
      weights.output,
      loader.Pack(std::array{MatrixName{prefix + "o_proj.weight", config.hidden}}, query_width));
  if (config.output_bias) {
    BATON_ASSIGN_OR_RETURN(weights.output_bias, loader.Vector(prefix + "o_proj.bias", config.hidden));
  }
  return absl::OkStatus();
}

absl::StatusOr<LayerWeights> LoadLayer(const ModelConfig& config, int layer, Loader& loader) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  LayerWeights weights;
  BATON_ASSIGN_OR_RETURN(weights.attention_norm,
                         loader.Vector(prefix + "input_layernorm.weight", config.hidden));
  BATON_RETURN_IF_ERROR(LoadAttention(config, prefix + "self_attn.", loader, weights));
  BATON_ASSIGN_OR_RETURN(weights.mlp_norm,
                         loader.Vector(prefix + "post_attention_layernorm.weight", config.hidden));
  if (config.has_experts[static_cast<std::size_t>(layer)]) {
    BATON_ASSIGN_OR_RETURN(weights.experts, LoadExperts(config, prefix, loader));
  } else {
    BATON_ASSIGN_OR_RETURN(weights.mlp, LoadMlp(prefix + "mlp.", {"gate_proj", "up_proj", "down_proj"},
                                                config.hidden, config.intermediate, loader));
  }
  return weights;
}

}  // namespace

absl::StatusOr<DecoderWeights> LoadDecoderWeights(const ModelConfig& config, const Checkpoint& checkpoint,
                                                  kernels::Backend& backend) {
  Loader loader(checkpoint, backend);
  DecoderWeights weights;
  const std::array embedding{MatrixName{"model.embed_tokens.weight", config.vocabulary}};
  const std::array head{MatrixName{"lm_head.weight", config.vocabulary}};
  BATON_ASSIGN_OR_RETURN(weights.embedding, loader.Stack(embedding, config.hidden, weights.embedding_bytes));
  for (int layer = 0; layer < config.layers; ++layer) {
    BATON_ASSIGN_OR_RETURN(LayerWeights loaded, LoadLayer(config, layer, loader));
    weights.layers.push_back(std::move(loaded));
  }
  BATON_ASSIGN_OR_RETURN(weights.final_norm, loader.Vector("model.norm.weight", config.hidden));
  BATON_ASSIGN_OR_RETURN(weights.head, loader.Pack(config.tied_embeddings ? embedding : head, config.hidden));
  return weights;
}

}  // namespace baton::engine
