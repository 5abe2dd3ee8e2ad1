#include "engine/model/architecture.h"

#include <array>
#include <string>

namespace baton::engine {
namespace {

using Bias = Architecture::Bias;
using Window = Architecture::Window;
using Experts = Architecture::Experts;

constexpr std::int64_t kMaxExperts = 1024;
constexpr std::int64_t kMaxExpertsChosen = 64;
constexpr std::int64_t kMaxWidth = 1 << 20;
constexpr std::int64_t kMaxContext = 1 << 24;

constexpr std::array kArchitectures{
    Architecture{.name = "LlamaForCausalLM",
                 .model_type = "llama",
                 .bias = Bias::kAsConfigured,
                 .mlp_bias = true,
                 .context = 2048},
    Architecture{.name = "MistralForCausalLM",
                 .model_type = "mistral",
                 .window = Window::kAllLayers,
                 .kv_heads = 8,
                 .context = 131072,
                 .window_tokens = 4096},
    Architecture{.name = "MixtralForCausalLM",
                 .model_type = "mixtral",
                 .window = Window::kAllLayers,
                 .experts = Experts::kMixtral,
                 .kv_heads = 8,
                 .context = 131072,
                 .rope_theta = 1e6,
                 .rms_epsilon = 1e-5},
    Architecture{.name = "Qwen2ForCausalLM",
                 .model_type = "qwen2",
                 .bias = Bias::kQkv,
                 .window = Window::kUpperLayers,
                 .kv_heads = 32,
                 .context = 32768,
                 .window_tokens = 4096},
    Architecture{.name = "Qwen2MoeForCausalLM",
                 .model_type = "qwen2_moe",
                 .bias = Bias::kQkv,
                 .window = Window::kEvenLowerLayers,
                 .experts = Experts::kQwenWithShared,
                 .kv_heads = 16,
                 .context = 32768,
                 .window_tokens = 4096},
    Architecture{.name = "Qwen3ForCausalLM",
                 .model_type = "qwen3",
                 .bias = Bias::kAsConfigured,
                 .window = Window::kUpperLayers,
                 .qk_norm = true,
                 .kv_heads = 32,
                 .head_dim = 128,
                 .context = 32768,
                 .window_tokens = 4096},
    Architecture{.name = "Qwen3MoeForCausalLM",
                 .model_type = "qwen3_moe",
                 .bias = Bias::kAsConfigured,
                 .window = Window::kAllIfUsed,
                 .experts = Experts::kQwen,
                 .qk_norm = true,
                 .kv_heads = 4,
                 .context = 32768,
                 .window_tokens = 4096},
};

/// `sliding_window`, which null switches off.
absl::StatusOr<int> WindowTokens(const Fields& fields, const Architecture& family) {
  if (fields.IsNull("sliding_window")) return 0;
  if (fields.Find("sliding_window") == nullptr) return static_cast<int>(family.window_tokens);
  BATON_ASSIGN_OR_RETURN(const std::int64_t tokens, fields.Int("sliding_window", kMaxContext));
  return static_cast<int>(tokens);
}

/// `layer_types`: one name a layer.
absl::Status ReadLayerTypes(const Fields& fields, const json::Value& types, int window, ModelConfig& config) {
  const json::Array* names = types.AsArray();
  if (names == nullptr || std::ssize(*names) != config.layers) {
    return Error(kInvalidArgument, "{}: layer_types must list {} names, one a layer", fields.Name(),
                 config.layers);
  }
  for (std::size_t layer = 0; layer < names->size(); ++layer) {
    const std::string* name = (*names)[layer].AsString();
    const bool sliding = name != nullptr && *name == "sliding_attention";
    if (!sliding && (name == nullptr || *name != "full_attention")) {
      return Error(kUnimplemented,
                   "{}: layer_types: {} is not supported; full_attention and sliding_attention are",
                   fields.Name(), json::Serialize((*names)[layer]));
    }
    if (sliding && window == 0) {
      return Error(kInvalidArgument, "{}: layer_types names sliding_attention, but no sliding window is used",
                   fields.Name());
    }
    config.windows[layer] = sliding ? window : 0;
  }
  return absl::OkStatus();
}

absl::Status ReadWindows(const Fields& fields, const Architecture& family, ModelConfig& config) {
  config.windows.assign(static_cast<std::size_t>(config.layers), 0);
  if (family.window == Window::kNone) {
    if (fields.Find("sliding_window") == nullptr) return absl::OkStatus();
    return Error(kUnimplemented, "{}: sliding_window is not supported for {}", fields.Name(), family.name);
  }
  BATON_ASSIGN_OR_RETURN(const bool used, fields.Bool("use_sliding_window", false));
  const bool slides = used || family.window == Window::kAllLayers;
  int window = 0;  // whatever an unused `sliding_window` says: 0, in newer files of Qwen2-MoE
  if (slides) {
    BATON_ASSIGN_OR_RETURN(window, WindowTokens(fields, family));
  }
  if (family.window == Window::kAllLayers || family.window == Window::kAllIfUsed) {
    config.windows.assign(config.windows.size(), window);
    return absl::OkStatus();
  }
  if (const json::Value* types = fields.Find("layer_types"); types != nullptr)
    return ReadLayerTypes(fields, *types, window, config);
  if (!slides) return absl::OkStatus();
  // `max_window_layers`, 0 included, is where the upper layers begin.
  const json::Value* lower = fields.Find("max_window_layers");
  const std::int64_t* count = lower != nullptr ? lower->AsInt() : nullptr;
  if (lower != nullptr && (count == nullptr || *count < 0)) {
    return Error(kInvalidArgument, "{}: max_window_layers must be an integer of at least 0", fields.Name());
  }
  const std::int64_t first_upper = count != nullptr ? *count : 28;
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const bool upper =
        family.window == Window::kUpperLayers ? layer >= first_upper : layer < first_upper && layer % 2 == 0;
    if (upper) config.windows[static_cast<std::size_t>(layer)] = window;
  }
  return absl::OkStatus();
}

/// `mlp_only_layers` and `decoder_sparse_step`: which layers of a Qwen have experts.
absl::Status ReadSparseLayers(const Fields& fields, ModelConfig& config) {
  BATON_ASSIGN_OR_RETURN(const std::int64_t step, fields.Int("decoder_sparse_step", 1 << 12, 1));
  for (int layer = 0; layer < config.layers; ++layer)
    config.has_experts[static_cast<std::size_t>(layer)] = (layer + 1) % step == 0;
  const json::Value* dense = fields.Find("mlp_only_layers");
  if (dense == nullptr) return absl::OkStatus();
  if (dense->AsArray() == nullptr) {
    return Error(kInvalidArgument, "{}: mlp_only_layers must be a list of layers", fields.Name());
  }
  for (const json::Value& entry : *dense->AsArray()) {
    const std::int64_t* layer = entry.AsInt();
    if (layer == nullptr || *layer < 0 || *layer >= config.layers) {
      return Error(kInvalidArgument, "{}: mlp_only_layers: {} is no layer of 0 to {}", fields.Name(),
                   json::Serialize(entry), config.layers - 1);
    }
    config.has_experts[static_cast<std::size_t>(*layer)] = false;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<const Architecture*> FindArchitecture(const Fields& fields) {
  const json::Value* value = fields.Find("architectures");
  const json::Value* type = fields.Find("model_type");
  if (value == nullptr && type != nullptr && type->AsString() != nullptr) {
    for (const Architecture& one : kArchitectures) {
      if (one.model_type == *type->AsString()) return &one;
    }
  }
  if (value == nullptr) return Error(kInvalidArgument, "{}: architectures is missing", fields.Name());
  const json::Array* names = value->AsArray();
  if (names == nullptr || names->size() != 1 || names->front().AsString() == nullptr) {
    return Error(kInvalidArgument, "{}: architectures must be a list of one name", fields.Name());
  }
  std::string supported;
  for (const Architecture& one : kArchitectures) {
    if (one.name == *names->front().AsString()) return &one;
    supported += (supported.empty() ? "" : ", ") + std::string(one.name);
  }
  return Error(kUnimplemented, "{}: architecture {} is not supported; these are: {}", fields.Name(),
               *names->front().AsString(), supported);
}

absl::Status ReadAttention(const Fields& fields, const Architecture& family, ModelConfig& config) {
  BATON_ASSIGN_OR_RETURN(const bool bias, fields.Bool("attention_bias", false));
  if (bias && family.bias == Bias::kNone) {
    return Error(kUnimplemented, "{}: attention_bias true is not supported for {}", fields.Name(),
                 family.name);
  }
  config.output_bias = family.bias == Bias::kAsConfigured && bias;
  config.qkv_bias = config.output_bias || family.bias == Bias::kQkv;
  if (family.experts == Experts::kQwenWithShared) {
    BATON_ASSIGN_OR_RETURN(config.qkv_bias, fields.Bool("qkv_bias", true));
  }
  config.qk_norm = family.qk_norm;
  BATON_ASSIGN_OR_RETURN(config.mlp_bias, fields.Bool("mlp_bias", false));
  if (config.mlp_bias && !family.mlp_bias) {
    return Error(kUnimplemented, "{}: mlp_bias true is not supported for {}", fields.Name(), family.name);
  }
  return ReadWindows(fields, family, config);
}

absl::Status ReadExperts(const Fields& fields, const Architecture& family, ModelConfig& config) {
  config.has_experts.assign(static_cast<std::size_t>(config.layers), family.experts != Experts::kNone);
  if (family.experts == Experts::kNone) {
    for (const std::string_view key : {"num_local_experts", "num_experts"}) {
      if (fields.Find(key) != nullptr)
        return Error(kUnimplemented, "{}: {} is not supported for {}", fields.Name(), key, family.name);
    }
    return absl::OkStatus();
  }
  const bool qwen = family.experts != Experts::kMixtral;
  ExpertsConfig& experts = config.experts;
  // Newer files may have either family's number under the other's name.
  const std::string_view own = qwen ? "num_experts" : "num_local_experts";
  const std::string_view other = qwen ? "num_local_experts" : "num_experts";
  const bool named_otherwise = fields.Find(own) == nullptr && fields.Find(other) != nullptr;
  const std::string_view number = named_otherwise ? other : own;
  BATON_ASSIGN_OR_RETURN(const std::int64_t count, fields.Int(number, kMaxExperts));
  BATON_ASSIGN_OR_RETURN(const std::int64_t chosen, fields.Int("num_experts_per_tok", kMaxExpertsChosen));
  if (chosen > count) {
    return Error(kInvalidArgument, "{}: num_experts_per_tok {} is above the {} experts", fields.Name(),
                 chosen, count);
  }
  experts.count = static_cast<int>(count);
  experts.chosen = static_cast<int>(chosen);
  if (!qwen) {
    experts.intermediate = config.intermediate;
    experts.block = "block_sparse_moe", experts.gate = "w1", experts.up = "w3", experts.down = "w2";
    return absl::OkStatus();
  }
  experts.block = "mlp", experts.gate = "gate_proj", experts.up = "up_proj", experts.down = "down_proj";
  BATON_ASSIGN_OR_RETURN(experts.normalize, fields.Bool("norm_topk_prob", false));
  BATON_ASSIGN_OR_RETURN(experts.intermediate, fields.Int("moe_intermediate_size", kMaxWidth));
  if (family.experts == Experts::kQwenWithShared) {
    BATON_ASSIGN_OR_RETURN(experts.shared_intermediate,
                           fields.Int("shared_expert_intermediate_size", kMaxWidth));
  }
  return ReadSparseLayers(fields, config);
}

}  // namespace baton::engine
