#include "engine/model/decoder_weights.h"

#include <array>
#include <string>

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

absl::StatusOr<LayerWeights> LoadLayer(const ModelConfig& config, int layer, Loader& loader) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const std::int64_t query_width = std::int64_t{config.heads} * config.head_dim;
  const std::int64_t kv_width = std::int64_t{config.kv_heads} * config.head_dim;
  const std::array qkv{MatrixName{prefix + "self_attn.q_proj.weight", query_width},
                       MatrixName{prefix + "self_attn.k_proj.weight", kv_width},
                       MatrixName{prefix + "self_attn.v_proj.weight", kv_width}};
  const std::array output{MatrixName{prefix + "self_attn.o_proj.weight", config.hidden}};
  const std::array gate_up{MatrixName{prefix + "mlp.gate_proj.weight", config.intermediate},
                           MatrixName{prefix + "mlp.up_proj.weight", config.intermediate}};
  const std::array down{MatrixName{prefix + "mlp.down_proj.weight", config.hidden}};
  LayerWeights weights;
  BATON_ASSIGN_OR_RETURN(weights.attention_norm,
                         loader.Vector(prefix + "input_layernorm.weight", config.hidden));
  BATON_ASSIGN_OR_RETURN(weights.qkv, loader.Pack(qkv, config.hidden));
  BATON_ASSIGN_OR_RETURN(weights.output, loader.Pack(output, query_width));
  BATON_ASSIGN_OR_RETURN(weights.mlp_norm,
                         loader.Vector(prefix + "post_attention_layernorm.weight", config.hidden));
  BATON_ASSIGN_OR_RETURN(weights.gate_up, loader.Pack(gate_up, config.hidden));
  BATON_ASSIGN_OR_RETURN(weights.down, loader.Pack(down, config.intermediate));
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
