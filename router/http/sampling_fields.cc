#include "router/http/sampling_fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace baton::router {
namespace {

constexpr double kBiasMax = 100;
constexpr std::int64_t kCompletionLogprobsMax = 5;
constexpr std::int64_t kChatLogprobsMax = 20;

/// The number that `text` is, whole; nothing else.
std::optional<TokenId> ParseId(std::string_view text) {
  TokenId id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

void ReadBias(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  const json::Value* value = fields.Take("logit_bias");
  if (value == nullptr) return;
  const json::Object* object = value->AsObject();
  if (object == nullptr) return fields.FailKind("logit_bias", "an object", *value);
  const auto fail = [&](std::string message) { fields.Fail(InvalidValue("logit_bias", std::move(message))); };
  if (object->size() > limits.biases_max)
    return fail(fmt::format("'logit_bias' has at most {} members", limits.biases_max));
  for (const auto& [name, bias] : *object) {
    const std::optional<TokenId> id = ParseId(name);
    if (!id || *id < 0 || *id >= limits.vocabulary)
      return fail(fmt::format("'logit_bias': token ids must be from 0 to {}", limits.vocabulary - 1));
    if (!bias.IsNumber() || !(std::abs(bias.Number()) <= kBiasMax))
      return fail(fmt::format("'logit_bias': a bias must be a number from -{0} to {0}", kBiasMax));
    out.bias.push_back({.token = *id, .bias = static_cast<float>(bias.Number())});
  }
}

void ReadPenalties(Fields& fields, GenerationRequest& out) {
  std::optional<double> repetition;
  std::optional<double> presence;
  std::optional<double> frequency;
  fields.Number("repetition_penalty",
                {.low = 0, .high = std::numeric_limits<double>::max(), .open_low = true}, repetition);
  fields.Number("presence_penalty", {.low = -2, .high = 2}, presence);
  fields.Number("frequency_penalty", {.low = -2, .high = 2}, frequency);
  out.repetition_penalty = repetition;
  out.presence_penalty = presence.value_or(0);
  out.frequency_penalty = frequency.value_or(0);
}

void ReadChoices(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  std::optional<std::int64_t> choices;
  fields.Integer("n", 1, limits.choices_max, choices);
  out.choices = static_cast<std::int32_t>(choices.value_or(1));
  std::optional<std::int64_t> best_of;
  fields.Integer("best_of", 1, std::numeric_limits<std::int64_t>::max(), best_of);
  if (best_of.value_or(out.choices) != out.choices)
    fields.Fail(UnsupportedParameter("best_of", "'best_of' other than 'n' is not supported"));
  if (out.choices * std::ssize(out.prompts) > limits.all_choices_max)
    fields.Fail(InvalidValue("n", fmt::format("at most {} choices in one request", limits.all_choices_max)));
  if (out.choices > 1 && out.temperature == 0.0)
    fields.Fail(InvalidValue("n", "'n' must be 1 where 'temperature' is 0: all choices would be the same"));
}

}  // namespace

void ReadIds(Fields& fields, std::string_view key, const json::Array& array, std::int32_t vocabulary,
             std::vector<TokenId>& out) {
  out.reserve(array.size());
  for (const json::Value& item : array) {
    if (item.AsInt() == nullptr) return fields.FailKind(key, "a list of token ids", item);
    if (*item.AsInt() < 0 || *item.AsInt() >= vocabulary) {
      return fields.Fail(InvalidValue(fields.Path(key), fmt::format("'{}': token ids must be from 0 to {}",
                                                                    fields.Path(key), vocabulary - 1)));
    }
    out.push_back(static_cast<TokenId>(*item.AsInt()));
  }
}

void ReadSampling(Fields& fields, const RequestLimits& limits, GenerationRequest& out) {
  fields.Number("temperature", {.low = 0, .high = 2}, out.temperature);
  fields.Number("top_p", {.low = 0, .high = 1, .open_low = true}, out.top_p);
  fields.Number("min_p", {.low = 0, .high = 1}, out.min_p);
  fields.Integer("top_k", -1, std::numeric_limits<std::int32_t>::max(), out.top_k);
  if (out.top_k == -1) out.top_k = 0;
  std::optional<std::int64_t> seed;
  fields.Integer("seed", std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(),
                 seed);
  if (seed) out.seed = static_cast<std::uint64_t>(*seed);
  ReadPenalties(fields, out);
  ReadBias(fields, limits, out);
  ReadChoices(fields, limits, out);
}

void ReadLogprobs(Fields& fields, GenerationRequest& out) {
  std::optional<std::int64_t> top;
  fields.Integer("top_logprobs", 0, kChatLogprobsMax, top);
  if (out.endpoint == Endpoint::kChat) {
    bool wanted = false;
    fields.Boolean("logprobs", wanted);
    if (top.value_or(0) > 0 && !wanted)
      return fields.Fail(
          InvalidValue("top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true"));
    if (wanted) out.logprobs = static_cast<std::int32_t>(top.value_or(0));
    return;
  }
  if (top.value_or(0) > 0)
    return fields.Fail(InvalidValue("top_logprobs", "'top_logprobs' is for chats; use 'logprobs'"));
  const json::Value* value = fields.Take("logprobs");
  if (value == nullptr || (value->AsBool() != nullptr && !*value->AsBool())) return;
  std::optional<std::int64_t> wanted;
  fields.Integer("logprobs", 0, kCompletionLogprobsMax, wanted);
  out.logprobs = static_cast<std::int32_t>(wanted.value_or(-1));
}

void ReadEcho(Fields& fields, GenerationRequest& out) {
  fields.Boolean("echo", out.echo);
  if (out.echo && out.endpoint == Endpoint::kChat)
    fields.Fail(UnsupportedParameter("echo", "'echo' is for completions"));
}

}  // namespace baton::router
