#include "router/http/request.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/utf8.h"
#include "router/http/chat_fields.h"
#include "router/http/fields.h"
#include "router/http/response_format.h"
#include "router/http/sampling_fields.h"
#include "router/http/template_fields.h"

namespace baton::router {
namespace {

// What a length may be at most before it meets the model's context: keeps every later sum inside int64.
constexpr std::int64_t kTokensMax = std::int64_t{1} << 30;

/// One prompt: a text or a list of ids.
void ReadOnePrompt(Fields& fields, const RequestLimits& limits, const json::Value& value,
                   GenerationRequest& out) {
  if (const std::string* text = value.AsString()) {
    if (text->empty()) return fields.Fail(InvalidValue("prompt", "'prompt' must not be empty"));
    out.prompts.emplace_back(*text);
    return;
  }
  const json::Array* ids = value.AsArray();
  if (ids == nullptr) return fields.FailKind("prompt", "a string or a list of token ids", value);
  if (ids->empty()) return fields.Fail(InvalidValue("prompt", "'prompt' must not be empty"));
  std::vector<TokenId> tokens;
  ReadIds(fields, "prompt", *ids, limits.vocabulary, tokens);
  out.prompts.emplace_back(std::move(tokens));
}

void ReadPrompt(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  const json::Value* value = fields.Take("prompt");
  if (value == nullptr) return fields.Fail(MissingParameter("prompt"));
  const json::Array* list = value->AsArray();
  const bool several = list != nullptr && !list->empty() && list->front().AsInt() == nullptr;
  if (!several) return ReadOnePrompt(fields, limits, *value, out);
  if (list->size() > limits.prompts_max) {
    return fields.Fail(InvalidValue("prompt", fmt::format("at most {} prompts", limits.prompts_max)));
  }
  for (const json::Value& one : *list) ReadOnePrompt(fields, limits, one, out);
}

void ReadStop(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  const auto add = [&](const json::Value& item) {
    const std::string* text = item.AsString();
    if (text == nullptr) return fields.FailKind("stop", "a string or a list of strings", item);
    if (text->empty()) return fields.Fail(InvalidValue("stop", "a stop string must not be empty"));
    if (text->size() > limits.stop_string_bytes_max) {
      return fields.Fail(InvalidValue(
          "stop", fmt::format("a stop string has at most {} bytes", limits.stop_string_bytes_max)));
    }
    out.stop.push_back(*text);
  };
  fields.Boolean("include_stop_str_in_output", out.include_stop_text);
  if (const json::Value* value = fields.Take("stop")) {
    const json::Array* list = value->AsArray();
    if (list == nullptr) {
      add(*value);
    } else if (list->size() > limits.stop_strings_max) {
      fields.Fail(InvalidValue("stop", fmt::format("at most {} stop strings", limits.stop_strings_max)));
    } else {
      for (const json::Value& item : *list) add(item);
    }
  }
  if (const json::Value* value = fields.Take("stop_token_ids")) {
    if (value->AsArray() == nullptr) return fields.FailKind("stop_token_ids", "a list of token ids", *value);
    if (value->AsArray()->size() > limits.stop_ids_max) {
      return fields.Fail(
          InvalidValue("stop_token_ids", fmt::format("at most {} stop tokens", limits.stop_ids_max)));
    }
    ReadIds(fields, "stop_token_ids", *value->AsArray(), limits.vocabulary, out.stop_token_ids);
  }
}

void ReadLengths(Fields& fields, GenerationRequest& out) {
  // An echo alone asks for no token.
  fields.Integer("max_tokens", out.echo ? 0 : 1, kTokensMax, out.max_tokens);
  if (out.endpoint == Endpoint::kChat) {
    std::optional<std::int64_t> newer;
    fields.Integer("max_completion_tokens", 1, kTokensMax, newer);
    if (newer) out.max_tokens = newer;
  }
  std::optional<std::int64_t> min_tokens;
  fields.Integer("min_tokens", 0, kTokensMax, min_tokens);
  out.min_tokens = min_tokens.value_or(0);
  if (out.max_tokens && out.min_tokens > *out.max_tokens) {
    fields.Fail(InvalidValue("min_tokens", "'min_tokens' must not be greater than 'max_tokens'"));
  }
}

void ReadCacheSalt(Fields& fields, GenerationRequest& out) {
  // 128 bytes: any hash or id. The forbidden ones keep room for a tenant's name beside the salt.
  constexpr std::size_t kBytesMax = 128;
  constexpr std::string_view kForbidden("@/\\\0", 4);
  std::optional<std::string> salt;
  fields.String("cache_salt", salt);
  if (!salt) return;
  if (salt->empty() || salt->size() > kBytesMax || salt->find_first_of(kForbidden) != std::string::npos) {
    return fields.Fail(
        InvalidValue("cache_salt",
                     fmt::format("'cache_salt' must have 1 to {} bytes, none of them '@', '/', '\\\\' or NUL",
                                 kBytesMax)));
  }
  out.cache_salt = *std::move(salt);
}

void ReadStreaming(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  fields.Boolean("stream", out.stream);
  const json::Value* options = fields.Take("stream_options");
  if (options == nullptr) return;
  if (options->AsObject() == nullptr) return fields.FailKind("stream_options", "an object", *options);
  if (!out.stream) {
    return fields.Fail(
        InvalidValue("stream_options", "'stream_options' is only allowed with 'stream': true"));
  }
  Fields inner(*options->AsObject(), "stream_options");
  inner.Boolean("include_usage", out.include_usage);
  inner.Boolean("continuous_usage_stats", out.continuous_usage);
  out.ignored_fields += inner.CountUnknown(limits.strict_fields);
  if (inner.Failed()) fields.Fail(*inner.Error());
}

}  // namespace

std::string_view Name(Endpoint endpoint) {
  return endpoint == Endpoint::kChat ? "chat" : "completions";
}

std::optional<ApiError> ParseRequest(Endpoint endpoint, std::string_view body, const RequestLimits& limits,
                                     GenerationRequest& out) {
  if (ValidUtf8Prefix(body) != body.size()) return InvalidBody("invalid_utf8", "the body is not valid UTF-8");
  const absl::StatusOr<json::Value> parsed = json::Parse(body, limits.json);
  // The parser's message quotes the text (a duplicate key, say): it stays here, so that no input is echoed.
  if (!parsed.ok()) return InvalidBody("invalid_json", "the body is not valid JSON");
  if (parsed->AsObject() == nullptr) return InvalidBody("invalid_json", "the body must be a JSON object");

  out = GenerationRequest{};
  out.endpoint = endpoint;
  Fields fields(*parsed->AsObject());
  std::optional<std::string> model;
  fields.String("model", model);
  out.model = model.value_or("");
  if (endpoint == Endpoint::kChat) {
    ReadMessages(fields, limits, out);
    ReadTemplateInputs(fields, limits, out);
  } else {
    ReadPrompt(fields, limits, out);
  }
  ReadEcho(fields, out);
  ReadLengths(fields, out);
  ReadSampling(fields, limits, out);
  ReadLogprobs(fields, out);
  ReadStop(fields, limits, out);
  ReadResponseFormat(fields, out);
  fields.Boolean("ignore_eos", out.ignore_eos);
  fields.Boolean("skip_special_tokens", out.skip_special_tokens);
  ReadCacheSalt(fields, out);
  ReadStreaming(fields, limits, out);
  out.add_special_tokens = endpoint == Endpoint::kCompletions;
  fields.Boolean("add_special_tokens", out.add_special_tokens);
  CheckUnsupported(fields);
  out.ignored_fields += fields.CountUnknown(limits.strict_fields);
  return fields.Error();
}

}  // namespace baton::router
