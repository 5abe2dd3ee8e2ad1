#include "tests/support/reference_decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::reference {
namespace {

using engine::Checkpoint;
using engine::ModelConfig;

std::vector<float> Vector(const Checkpoint& checkpoint, const std::string& name, std::int64_t length) {
  const auto tensor = checkpoint.Tensor(name, std::array{length});
  BATON_CHECK(tensor.ok(), "{}", Message(tensor.status()));
  return ToFloats(*tensor);
}

Matrix Weight(const Checkpoint& checkpoint, const std::string& name, std::int64_t rows,
              std::int64_t columns) {
  const auto tensor = checkpoint.Tensor(name, std::array{rows, columns});
  BATON_CHECK(tensor.ok(), "{}", Message(tensor.status()));
  Matrix matrix(rows, columns);
  const std::vector<float> stored = ToFloats(*tensor);
  std::ranges::copy(stored, matrix.values.begin());
  return matrix;
}

void Add(Matrix& x, const Matrix& y) {
  for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i];
}

/// x W^T, plus the bias where there is one.
Matrix Project(const Checkpoint& checkpoint, const std::string& name, std::int64_t rows, const Matrix& x,
               bool bias) {
  Matrix out = MatMul(Weight(checkpoint, name + ".weight", rows, x.columns), x);
  if (!bias) return out;
  const std::vector<float> values = Vector(checkpoint, name + ".bias", rows);
  for (std::int64_t t = 0; t < out.rows; ++t) {
    for (std::int64_t c = 0; c < rows; ++c) out.At(t, c) += values[static_cast<std::size_t>(c)];
  }
  return out;
}

/// Each head by itself.
Matrix NormHeads(const ModelConfig& config, const Matrix& x, std::span<const float> weight) {
  Matrix heads(x.rows * x.columns / config.head_dim, config.head_dim);
  heads.values = x.values;  // a head is a row of this
  Matrix out(x.rows, x.columns);
  out.values = RmsNorm(heads, weight, config.rms_epsilon).values;
  return out;
}

Matrix SelfAttention(const ModelConfig& config, const Checkpoint& checkpoint, int layer, const Matrix& x) {
  const std::string at = "model.layers." + std::to_string(layer) + ".self_attn.";
  const std::int64_t queries = std::int64_t{config.heads} * config.head_dim;
  const std::int64_t keys = std::int64_t{config.kv_heads} * config.head_dim;
  Matrix q = Project(checkpoint, at + "q_proj", queries, x, config.qkv_bias);
  Matrix k = Project(checkpoint, at + "k_proj", keys, x, config.qkv_bias);
  const Matrix v = Project(checkpoint, at + "v_proj", keys, x, config.qkv_bias);
  if (config.qk_norm) {
    q = NormHeads(config, q, Vector(checkpoint, at + "q_norm.weight", config.head_dim));
    k = NormHeads(config, k, Vector(checkpoint, at + "k_norm.weight", config.head_dim));
  }
  std::vector<std::int32_t> positions(static_cast<std::size_t>(x.rows));
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<double> frequencies = engine::InverseFrequencies(config);
  for (Matrix* rotated : {&q, &k}) {
    Rope(*rotated, config.head_dim, positions, frequencies);
    for (std::int64_t t = 0; t < rotated->rows; ++t) {
      for (std::int64_t c = 0; c < rotated->columns; ++c) rotated->At(t, c) *= config.rope_magnitude;
    }
  }
  const Matrix mixed = Attention({.heads = config.heads,
                                  .kv_heads = config.kv_heads,
                                  .head_dim = config.head_dim,
                                  .scale = 1 / std::sqrt(static_cast<double>(config.head_dim)),
                                  .window = config.windows[static_cast<std::size_t>(layer)]},
                                 q, k, v);
  return Project(checkpoint, at + "o_proj", config.hidden, mixed, config.output_bias);
}

struct MlpNames {
  std::string gate, up, down;
};

Matrix Mlp(const Checkpoint& checkpoint, const std::string& at, const MlpNames& names, std::int64_t width,
           const Matrix& x, bool bias = false) {
  const Matrix gate = Project(checkpoint, at + names.gate, width, x, bias);
  const Matrix up = Project(checkpoint, at + names.up, width, x, bias);
  Matrix gate_up(x.rows, 2 * width);
  for (std::int64_t t = 0; t < x.rows; ++t) {
    for (std::int64_t c = 0; c < width; ++c) {
      gate_up.At(t, c) = gate.At(t, c);
      gate_up.At(t, width + c) = up.At(t, c);
    }
  }
  return Project(checkpoint, at + names.down, x.columns, SwiGlu(gate_up), bias);
}

/// Every expert over every row, and of them the shares of those that the row chose.
Matrix Experts(const ModelConfig& config, const Checkpoint& checkpoint, const std::string& layer,
               const Matrix& x) {
  const bool mixtral = config.architecture == "MixtralForCausalLM";
  const std::string at = layer + (mixtral ? "block_sparse_moe." : "mlp.");
  const MlpNames names = mixtral ? MlpNames{"w1", "w3", "w2"} : MlpNames{"gate_proj", "up_proj", "down_proj"};
  const std::int64_t count = config.experts.count;
  const Matrix shares = ExpertShares(MatMul(Weight(checkpoint, at + "gate.weight", count, x.columns), x),
                                     config.experts.chosen, config.experts.normalize);
  Matrix out(x.rows, x.columns);
  for (std::int64_t expert = 0; expert < count; ++expert) {
    const Matrix one = Mlp(checkpoint, at + "experts." + std::to_string(expert) + ".", names,
                           config.experts.intermediate, x);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      for (std::int64_t c = 0; c < x.columns; ++c) out.At(t, c) += shares.At(t, expert) * one.At(t, c);
    }
  }
  if (config.experts.shared_intermediate == 0) return out;
  const Matrix gate = MatMul(Weight(checkpoint, at + "shared_expert_gate.weight", 1, x.columns), x);
  const Matrix shared = Mlp(checkpoint, at + "shared_expert.", names, config.experts.shared_intermediate, x);
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const double share = 1 / (1 + std::exp(-gate.At(t, 0)));
    for (std::int64_t c = 0; c < x.columns; ++c) out.At(t, c) += share * shared.At(t, c);
  }
  return out;
}

}  // namespace

Matrix Logits(const ModelConfig& config, const Checkpoint& checkpoint, std::span<const TokenId> tokens) {
  const Matrix embedding = Weight(checkpoint, "model.embed_tokens.weight", config.vocabulary, config.hidden);
  Matrix state(std::ssize(tokens), config.hidden);
  for (std::int64_t t = 0; t < state.rows; ++t) {
    for (std::int64_t c = 0; c < config.hidden; ++c)
      state.At(t, c) = embedding.At(tokens[static_cast<std::size_t>(t)], c);
  }
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const auto normed = [&](const char* name) {
      return RmsNorm(state, Vector(checkpoint, at + name, config.hidden), config.rms_epsilon);
    };
    Add(state, SelfAttention(config, checkpoint, layer, normed("input_layernorm.weight")));
    const Matrix x = normed("post_attention_layernorm.weight");
    Add(state, config.has_experts[static_cast<std::size_t>(layer)]
                   ? Experts(config, checkpoint, at, x)
                   : Mlp(checkpoint, at + "mlp.", {"gate_proj", "up_proj", "down_proj"}, config.intermediate,
                         x, config.mlp_bias));
  }
  const Matrix last =
      RmsNorm(state, Vector(checkpoint, "model.norm.weight", config.hidden), config.rms_epsilon);
  return MatMul(config.tied_embeddings
                    ? embedding
                    : Weight(checkpoint, "lm_head.weight", config.vocabulary, config.hidden),
                last);
}

}  // namespace baton::reference
