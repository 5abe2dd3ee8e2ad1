#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"

namespace baton::engine {

/// `rope_scaling` of config.json with rope_type "llama3".
struct RopeScalingLlama3 {
  double factor = 8;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  std::int64_t original_context = 8192;
};

/// `rope_scaling` of rope_type "yarn".
struct RopeScalingYarn {
  double factor = 1;
  /// Of the rotated pairs, those up to `low` keep their frequency, those from `high` on are divided by
  /// `factor`.
  double low = 0;
  double high = 0;
};

/// The mixture of experts of the layers that have one.
struct ExpertsConfig {
  int count = 0;                         // 0 = the model has none
  int chosen = 0;                        // of each token
  bool normalize = true;                 // the shares of the chosen ones add up to 1
  std::int64_t intermediate = 0;         // width of one expert
  std::int64_t shared_intermediate = 0;  // width of the gated one that every token passes; 0 = none
  /// Members of a layer's tensor names.
  std::string block, gate, up, down;  // "mlp", "gate_proj", ...
};

/// A decoder-only transformer, from `config.json` and `generation_config.json`.
struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM"; what it means is in the other fields
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  std::int32_t vocabulary = 0;
  std::int64_t context = 0;  // max_position_embeddings
  float rms_epsilon = 1e-5F;
  double rope_theta = 10000;
  std::optional<RopeScalingLlama3> rope_scaling;
  double rope_linear_factor = 1;  // `rope_scaling` of rope_type "linear": all angles divided by this
  std::optional<RopeScalingYarn> rope_yarn;
  double rope_magnitude = 1;  // what "yarn" multiplies rotated queries and keys by
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  // of attention
  bool mlp_bias = false;
  bool qk_norm = false;  // RMSNorm of each query and key head before RoPE
  /// Per layer: a token sees itself and the window-1 before it; 0 = all.
  std::vector<int> windows;
  ExpertsConfig experts;
  std::vector<bool> has_experts;  // per layer
  std::vector<TokenId> eos;       // generation_config.json over config.json
  std::optional<TokenId> bos;
};

/// Reads `directory`. Errors name file and field: "config.json: num_key_value_heads 3 does not divide
/// num_attention_heads 8"; an unsupported feature is named as such.
[[nodiscard]] absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory);
/// The same from the files' texts; `generation_config` may be empty. For tests and fuzzers.
[[nodiscard]] absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config,
                                                           std::string_view generation_config);

/// Angle per position of each rotated pair, [head_dim / 2], scaling included.
[[nodiscard]] std::vector<double> InverseFrequencies(const ModelConfig& config);

}  // namespace baton::engine
