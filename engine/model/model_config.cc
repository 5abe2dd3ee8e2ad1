#include "engine/model/model_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/base/error.h"
#include "common/json/value.h"
#include "engine/model/architecture.h"
#include "engine/model/config_fields.h"
#include "engine/model/model_files.h"

namespace baton::engine {
namespace {

// Bounds far above any published model, so that products of them stay within 64 bits.
constexpr std::int64_t kMaxWidth = 1 << 20;
constexpr std::int64_t kMaxLayers = 1 << 12;
constexpr std::int64_t kMaxHeads = 1 << 12;
constexpr std::int64_t kMaxHeadDim = 1 << 10;
constexpr std::int64_t kMaxVocabulary = 1 << 24;
constexpr std::int64_t kMaxContext = 1 << 24;
constexpr std::size_t kMaxEosIds = 64;
// Frequencies stay finite between these.
constexpr double kMinTheta = 1e-3;
constexpr double kMaxTheta = 1e12;
constexpr double kMinFactor = 1e-3;

absl::StatusOr<json::Value> ParseObject(std::string_view text, std::string_view file) {
  auto value = json::Parse(text, {.bytes = kMaxConfigBytes, .depth = 32, .nodes = 100'000});
  if (!value.ok()) return Annotate(value.status(), file);
  if (value->AsObject() == nullptr) {
    return Error(kInvalidArgument, "{}: must be a JSON object, not {}", file, value->KindName());
  }
  return value;
}

absl::Status RefusePartialRotation(const Fields& fields) {
  const json::Value* part = fields.Find("partial_rotary_factor");
  if (part == nullptr || (part->IsNumber() && part->Number() == 1)) return absl::OkStatus();
  return Error(kUnimplemented, "{}: partial_rotary_factor {} is not supported", fields.Name(),
               json::Serialize(*part));
}

/// Refuses, by its name, each feature that would change the result and that the forward pass does not have.
absl::Status RefuseUnsupported(const Fields& fields) {
  if (fields.Find("quantization_config") != nullptr) {
    return Error(kUnimplemented,
                 "{}: quantization_config is not supported; int8 is made at load, from bf16, f16 or f32",
                 fields.Name());
  }
  if (const json::Value* act = fields.Find("hidden_act"); act != nullptr) {
    const std::string* name = act->AsString();
    if (name == nullptr || (*name != "silu" && *name != "swish")) {
      return Error(kUnimplemented, "{}: hidden_act {} is not supported; silu is", fields.Name(),
                   json::Serialize(*act));
    }
  }
  return RefusePartialRotation(fields);
}

absl::Status ReadShape(const Fields& fields, const Architecture& family, ModelConfig& config) {
  BATON_ASSIGN_OR_RETURN(config.hidden, fields.Int("hidden_size", kMaxWidth));
  BATON_ASSIGN_OR_RETURN(config.intermediate, fields.Int("intermediate_size", kMaxWidth));
  BATON_ASSIGN_OR_RETURN(const std::int64_t layers, fields.Int("num_hidden_layers", kMaxLayers));
  BATON_ASSIGN_OR_RETURN(const std::int64_t heads, fields.Int("num_attention_heads", kMaxHeads));
  // Null is not the same as left out here.
  const bool as_many = family.kv_heads == 0 || fields.IsNull("num_key_value_heads");
  BATON_ASSIGN_OR_RETURN(const std::int64_t kv_heads,
                         fields.Int("num_key_value_heads", kMaxHeads, as_many ? heads : family.kv_heads));
  if (heads % kv_heads != 0) {
    return Error(kInvalidArgument, "{}: num_key_value_heads {} does not divide num_attention_heads {}",
                 fields.Name(), kv_heads, heads);
  }
  if (fields.Find("head_dim") == nullptr && family.head_dim == 0 && config.hidden % heads != 0) {
    return Error(kInvalidArgument,
                 "{}: num_attention_heads {} does not divide hidden_size {} and there is no head_dim",
                 fields.Name(), heads, config.hidden);
  }
  BATON_ASSIGN_OR_RETURN(
      const std::int64_t head_dim,
      fields.Int("head_dim", kMaxHeadDim, family.head_dim == 0 ? config.hidden / heads : family.head_dim));
  if (head_dim < 2 || head_dim > kMaxHeadDim || head_dim % 2 != 0) {
    return Error(kInvalidArgument, "{}: head_dim {} must be even and between 2 and {}", fields.Name(),
                 head_dim, kMaxHeadDim);
  }
  BATON_ASSIGN_OR_RETURN(const std::int64_t vocabulary, fields.Int("vocab_size", kMaxVocabulary));
  BATON_ASSIGN_OR_RETURN(config.context, fields.Int("max_position_embeddings", kMaxContext, family.context));
  config.layers = static_cast<int>(layers);
  config.heads = static_cast<int>(heads);
  config.kv_heads = static_cast<int>(kv_heads);
  config.head_dim = static_cast<int>(head_dim);
  config.vocabulary = static_cast<std::int32_t>(vocabulary);
  return absl::OkStatus();
}

/// The context that the model was trained with before it was stretched; some files have it beside the
/// parameters of the rotation.
absl::StatusOr<std::int64_t> OriginalContext(const Fields& file, const Fields& rotation,
                                             std::int64_t context) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  BATON_ASSIGN_OR_RETURN(const std::int64_t beside, file.Int(kKey, kMaxContext, context));
  BATON_ASSIGN_OR_RETURN(const std::int64_t original, rotation.Int(kKey, kMaxContext, beside));
  if (file.Find(kKey) != nullptr && original != beside) {
    return Error(kInvalidArgument, "{}: {} {}, but {} beside it; which one holds?", rotation.Name(), kKey,
                 original, beside);
  }
  return original;
}

absl::Status ReadLlama3Scaling(const Fields& file, const Fields& fields, ModelConfig& config) {
  RopeScalingLlama3 scaling;
  BATON_ASSIGN_OR_RETURN(scaling.factor, fields.Number("factor", kMinFactor, 1e6));
  BATON_ASSIGN_OR_RETURN(scaling.low_frequency_factor, fields.Number("low_freq_factor", 0, 1e6));
  BATON_ASSIGN_OR_RETURN(scaling.high_frequency_factor, fields.Number("high_freq_factor", 0, 1e6));
  BATON_ASSIGN_OR_RETURN(scaling.original_context, OriginalContext(file, fields, config.context));
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    return Error(kInvalidArgument, "{}: high_freq_factor {} must be above low_freq_factor {}", fields.Name(),
                 scaling.high_frequency_factor, scaling.low_frequency_factor);
  }
  config.rope_scaling = scaling;
  return absl::OkStatus();
}

/// What YaRN's authors make of a factor: attention over longer texts is sharper by it.
double YarnMagnitude(double factor, double weight) {
  return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1;
}

absl::Status ReadYarn(const Fields& file, const Fields& fields, ModelConfig& config) {
  RopeScalingYarn yarn;
  BATON_ASSIGN_OR_RETURN(const std::int64_t original, OriginalContext(file, fields, config.context));
  const double ratio = static_cast<double>(config.context) / static_cast<double>(original);
  BATON_ASSIGN_OR_RETURN(yarn.factor, fields.Number("factor", kMinFactor, 1e6, ratio));
  // Pairs that turn more often than the first over the original context are left alone; those that turn less
  // often than the second are stretched.
  BATON_ASSIGN_OR_RETURN(const double fast, fields.Number("beta_fast", 0, 1e6, 32));
  BATON_ASSIGN_OR_RETURN(const double slow, fields.Number("beta_slow", 0, 1e6, 1));
  BATON_ASSIGN_OR_RETURN(const bool whole, fields.Bool("truncate", true));
  if (config.rope_theta <= 1)
    return Error(kInvalidArgument, "{}: rope_theta must be above 1 for yarn", fields.Name());
  const auto pair_of = [&](double turns) {
    const double waves = static_cast<double>(original) / (turns * 2 * std::numbers::pi);
    return config.head_dim * std::log(waves) / (2 * std::log(config.rope_theta));
  };
  yarn.low = std::max(whole ? std::floor(pair_of(fast)) : pair_of(fast), 0.0);
  yarn.high = std::min(whole ? std::ceil(pair_of(slow)) : pair_of(slow), config.head_dim - 1.0);
  if (yarn.high == yarn.low) yarn.high += 0.001;
  BATON_ASSIGN_OR_RETURN(const double weight, fields.Number("mscale", -1e-9, 1e3, 0));
  BATON_ASSIGN_OR_RETURN(const double weight_of_all, fields.Number("mscale_all_dim", -1e-9, 1e3, 0));
  const double magnitude = weight > 0 && weight_of_all > 0 ? YarnMagnitude(yarn.factor, weight) /
                                                                 YarnMagnitude(yarn.factor, weight_of_all)
                                                           : YarnMagnitude(yarn.factor, 1);
  BATON_ASSIGN_OR_RETURN(config.rope_magnitude, fields.Number("attention_factor", 0, 1e3, magnitude));
  config.rope_yarn = yarn;
  return absl::OkStatus();
}

/// What the object under `key` says of the rotation, if it is there.
absl::Status ReadRotation(const Fields& fields, std::string_view key, ModelConfig& config) {
  const json::Value* value = fields.Find(key);
  if (value == nullptr) return absl::OkStatus();
  const std::string name = fields.Name() + ": " + std::string(key);
  if (value->AsObject() == nullptr) {
    return Error(kInvalidArgument, "{} must be an object, not {}", name, value->KindName());
  }
  const Fields scaling(*value, name);
  BATON_ASSIGN_OR_RETURN(config.rope_theta,
                         scaling.Number("rope_theta", kMinTheta, kMaxTheta, config.rope_theta));
  for (const auto& [member, part] : *value->AsObject()) {
    if (part.AsObject() != nullptr)
      return Error(kUnimplemented, "{}: parameters for some layers ('{}') are not supported", name, member);
  }
  BATON_RETURN_IF_ERROR(RefusePartialRotation(scaling));
  const json::Value* type = scaling.Find("rope_type");
  if (type == nullptr) type = scaling.Find("type");  // the name that older files use
  if (type == nullptr && scaling.Find("factor") == nullptr) return absl::OkStatus();
  if (type == nullptr || type->AsString() == nullptr) {
    return Error(kInvalidArgument, "{}: rope_type is missing", name);
  }
  // "dynamic" changes angles only beyond max_position_embeddings, which no text here is longer than.
  if (*type->AsString() == "default" || *type->AsString() == "dynamic") return absl::OkStatus();
  if (*type->AsString() == "llama3") return ReadLlama3Scaling(fields, scaling, config);
  if (*type->AsString() == "yarn") return ReadYarn(fields, scaling, config);
  if (*type->AsString() == "linear") {
    BATON_ASSIGN_OR_RETURN(config.rope_linear_factor, scaling.Number("factor", kMinFactor, 1e6));
    return absl::OkStatus();
  }
  return Error(kUnimplemented,
               "{}: rope_type {} is not supported; default, dynamic, linear, llama3 and yarn are", name,
               json::Serialize(*type));
}

/// `rope_theta` and `rope_scaling`, or both in `rope_parameters` as newer files have them. A file with both,
/// for older and newer readers, must say the same in them.
absl::Status ReadRope(const Fields& fields, const Architecture& family, ModelConfig& config) {
  BATON_ASSIGN_OR_RETURN(config.rope_theta,
                         fields.Number("rope_theta", kMinTheta, kMaxTheta, family.rope_theta));
  ModelConfig older = config;
  BATON_RETURN_IF_ERROR(ReadRotation(fields, "rope_parameters", config));
  if (fields.Find("rope_scaling") == nullptr) return absl::OkStatus();
  if (fields.Find("rope_parameters") == nullptr) return ReadRotation(fields, "rope_scaling", config);
  if (fields.Find("rope_theta") == nullptr) older.rope_theta = config.rope_theta;
  BATON_RETURN_IF_ERROR(ReadRotation(fields, "rope_scaling", older));
  if (InverseFrequencies(older) == InverseFrequencies(config) &&
      older.rope_magnitude == config.rope_magnitude) {
    return absl::OkStatus();
  }
  return Error(kInvalidArgument,
               "{}: rope_scaling and rope_parameters say different things; leave one of them out",
               fields.Name());
}

absl::StatusOr<TokenId> ReadToken(const Fields& fields, std::string_view key, const json::Value& value,
                                  std::int32_t vocabulary) {
  const std::int64_t* id = value.AsInt();
  if (id == nullptr) {
    return Error(kInvalidArgument, "{}: {} must be a token id, not {}", fields.Name(), key, value.KindName());
  }
  if (*id < 0 || *id >= vocabulary) {
    return Error(kInvalidArgument, "{}: {} {} is outside the vocabulary of {}", fields.Name(), key, *id,
                 vocabulary);
  }
  return static_cast<TokenId>(*id);
}

/// `eos_token_id`, one id or a list, and `bos_token_id`; what is absent leaves `config` as it is.
absl::Status ReadSpecialTokens(const Fields& fields, ModelConfig& config) {
  if (const json::Value* bos = fields.Find("bos_token_id"); bos != nullptr) {
    BATON_ASSIGN_OR_RETURN(config.bos, ReadToken(fields, "bos_token_id", *bos, config.vocabulary));
  }
  const json::Value* eos = fields.Find("eos_token_id");
  if (eos == nullptr) return absl::OkStatus();
  config.eos.clear();
  const json::Array* list = eos->AsArray();
  if (list != nullptr && list->size() > kMaxEosIds) {
    return Error(kInvalidArgument, "{}: eos_token_id lists {} ids; at most {} are supported", fields.Name(),
                 list->size(), kMaxEosIds);
  }
  const std::span<const json::Value> ids = list != nullptr ? std::span(*list) : std::span(eos, 1);
  for (const json::Value& value : ids) {
    BATON_ASSIGN_OR_RETURN(const TokenId id, ReadToken(fields, "eos_token_id", value, config.vocabulary));
    config.eos.push_back(id);
  }
  return absl::OkStatus();
}

/// The rule of Llama 3.1: long waves are stretched by `factor`, short ones stay, between them a straight
/// line.
double ScaleLlama3(double frequency, const RopeScalingLlama3& scaling) {
  const double waves = static_cast<double>(scaling.original_context) * frequency / (2 * std::numbers::pi);
  if (waves < scaling.low_frequency_factor) return frequency / scaling.factor;
  if (waves > scaling.high_frequency_factor) return frequency;
  const double share =
      (waves - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - share) * frequency / scaling.factor + share * frequency;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_text,
                                             std::string_view generation_config) {
  BATON_ASSIGN_OR_RETURN(const json::Value root, ParseObject(config_text, "config.json"));
  const Fields fields(root, "config.json");
  ModelConfig config;
  BATON_ASSIGN_OR_RETURN(const Architecture* family, FindArchitecture(fields));
  config.architecture = family->name;
  BATON_RETURN_IF_ERROR(RefuseUnsupported(fields));
  BATON_RETURN_IF_ERROR(ReadShape(fields, *family, config));
  BATON_ASSIGN_OR_RETURN(const double epsilon, fields.Number("rms_norm_eps", 0, 1, family->rms_epsilon));
  config.rms_epsilon = static_cast<float>(epsilon);
  BATON_RETURN_IF_ERROR(ReadRope(fields, *family, config));
  BATON_RETURN_IF_ERROR(ReadAttention(fields, *family, config));
  BATON_RETURN_IF_ERROR(ReadExperts(fields, *family, config));
  BATON_ASSIGN_OR_RETURN(config.tied_embeddings, fields.Bool("tie_word_embeddings", false));
  BATON_RETURN_IF_ERROR(ReadSpecialTokens(fields, config));
  if (!generation_config.empty()) {
    BATON_ASSIGN_OR_RETURN(const json::Value generation,
                           ParseObject(generation_config, "generation_config.json"));
    BATON_RETURN_IF_ERROR(ReadSpecialTokens(Fields(generation, "generation_config.json"), config));
  }
  return config;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& directory) {
  BATON_ASSIGN_OR_RETURN(const std::string config, ReadSmallFile(directory + "/config.json"));
  auto generation = ReadSmallFile(directory + "/generation_config.json");
  if (!generation.ok() && generation.status().code() != kNotFound) return generation.status();
  auto parsed = ParseModelConfig(config, generation.ok() ? *generation : std::string());
  if (!parsed.ok()) return Annotate(parsed.status(), directory);
  return parsed;
}

std::vector<double> InverseFrequencies(const ModelConfig& config) {
  std::vector<double> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / config.head_dim;
    const double frequency = 1 / std::pow(config.rope_theta, exponent) / config.rope_linear_factor;
    frequencies[i] =
        config.rope_scaling.has_value() ? ScaleLlama3(frequency, *config.rope_scaling) : frequency;
    if (!config.rope_yarn) continue;
    const auto& [factor, low, high] = *config.rope_yarn;
    const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequency * ((1 - stretched) + stretched / factor);
  }
  return frequencies;
}

}  // namespace baton::engine
