#include "router/model_info.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/json/value.h"

namespace baton::router {
namespace {

// Far beyond any config.json.
constexpr std::size_t kConfigBytesMax = 1U << 20;

absl::StatusOr<json::Value> ReadJson(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error(kNotFound, "{}: cannot be opened", path);
  std::string text(kConfigBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kConfigBytesMax)
    return Error(kInvalidArgument, "{}: larger than {} bytes", path, kConfigBytesMax);
  absl::StatusOr<json::Value> value = json::Parse(text);
  if (!value.ok()) return Annotate(value.status(), path);
  if (value->AsObject() == nullptr) return Error(kInvalidArgument, "{}: not a JSON object", path);
  return value;
}

/// One id, a list of them, or nothing.
absl::StatusOr<std::vector<TokenId>> ReadEndIds(const json::Value& config, std::string_view path) {
  std::vector<TokenId> out;
  const json::Value* value = config.Find("eos_token_id");
  if (value == nullptr || value->IsNull()) return out;
  const json::Array ids = value->AsArray() != nullptr ? *value->AsArray() : json::Array{*value};
  for (const json::Value& id : ids) {
    if (id.AsInt() == nullptr || *id.AsInt() < 0 || *id.AsInt() > std::numeric_limits<TokenId>::max()) {
      return Error(kInvalidArgument, "{}: eos_token_id must be a token id or a list of them", path);
    }
    out.push_back(static_cast<TokenId>(*id.AsInt()));
  }
  return out;
}

absl::Status ReadNumber(const json::Value& config, std::string_view key, double low, double high,
                        double& out) {
  const json::Value* value = config.Find(key);
  if (value == nullptr || value->IsNull()) return absl::OkStatus();
  const double number = value->Number();
  if (!value->IsNumber() || !std::isfinite(number) || number < low || number > high) {
    return Error(kInvalidArgument, "generation_config.json: {} must be a number from {} to {}", key, low,
                 high);
  }
  out = number;
  return absl::OkStatus();
}

absl::Status ReadDefaults(const json::Value& config, SamplingParameters& out) {
  BATON_RETURN_IF_ERROR(ReadNumber(config, "temperature", 0, 2, out.temperature));
  BATON_RETURN_IF_ERROR(ReadNumber(config, "top_p", 0, 1, out.top_p));
  BATON_RETURN_IF_ERROR(ReadNumber(config, "min_p", 0, 1, out.min_p));
  double top_k = out.top_k;
  BATON_RETURN_IF_ERROR(ReadNumber(config, "top_k", -1, std::numeric_limits<std::int32_t>::max(), top_k));
  if (top_k != std::floor(top_k))
    return Error(kInvalidArgument, "generation_config.json: top_k must be whole");
  out.top_k = top_k < 0 ? 0 : static_cast<std::int32_t>(top_k);
  // What workers take: the same range as a client's, whose lower end does not belong to it.
  BATON_RETURN_IF_ERROR(ReadNumber(config, "repetition_penalty", std::numeric_limits<double>::min(),
                                   std::numeric_limits<double>::max(), out.repetition_penalty));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const ModelInfo>> LoadModelInfo(const std::string& directory,
                                                               std::string name) {
  auto model = std::make_unique<ModelInfo>();
  model->name = std::move(name);
  BATON_ASSIGN_OR_RETURN(model->tokenizer, text::Tokenizer::Load(directory));
  absl::StatusOr<std::unique_ptr<text::ChatTemplate>> chat = text::ChatTemplate::Load(directory);
  if (chat.ok()) {
    model->chat_template = *std::move(chat);
  } else if (chat.status().code() == kNotFound) {
    LogWarning("no_chat_template", {{"model", directory}, {"effect", "chat completions are refused"}});
  } else {
    return chat.status();
  }
  const std::string config_path = directory + "/config.json";
  BATON_ASSIGN_OR_RETURN(const json::Value config, ReadJson(config_path));
  const json::Value* context = config.Find("max_position_embeddings");
  if (context == nullptr || context->AsInt() == nullptr || *context->AsInt() < 1) {
    return Error(kInvalidArgument, "{}: max_position_embeddings must be a positive integer", config_path);
  }
  // A tokenizer may promise less than the model's positions would allow.
  model->context_tokens =
      std::min(*context->AsInt(), model->tokenizer->PromptTokensMax().value_or(*context->AsInt()));
  BATON_ASSIGN_OR_RETURN(model->end_ids, ReadEndIds(config, config_path));

  const std::string generation_path = directory + "/generation_config.json";
  absl::StatusOr<json::Value> generation = ReadJson(generation_path);
  if (generation.status().code() == kNotFound) return model;
  if (!generation.ok()) return generation.status();
  BATON_RETURN_IF_ERROR(ReadDefaults(*generation, model->defaults));
  BATON_ASSIGN_OR_RETURN(std::vector<TokenId> end_ids, ReadEndIds(*generation, generation_path));
  if (!end_ids.empty()) model->end_ids = std::move(end_ids);
  return model;
}

}  // namespace baton::router
