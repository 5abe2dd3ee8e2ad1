#include "router/generate.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/text/prefix_hash.h"

namespace baton::router {
namespace {

// What OpenAI's completions endpoint does where the client is silent; chats may use the whole context.
constexpr std::int64_t kCompletionTokensDefault = 16;

// Tokens of a worker's KV block: prefixes are named at these steps.
constexpr std::int64_t kPrefixBlockTokens = 16;

std::optional<ApiError> Tokenize(const GenerationRequest& request, const ModelInfo& model, std::size_t prompt,
                                 std::vector<TokenId>& out) {
  absl::StatusOr<std::vector<TokenId>> tokens;
  if (request.endpoint == Endpoint::kChat) {
    if (model.chat_template == nullptr) {
      return UnsupportedParameter("messages", "this model has no chat template; use /v1/completions");
    }
    const absl::StatusOr<std::string> text = model.chat_template->Render(
        {.messages = request.messages, .add_generation_prompt = true, .extra = {}});
    if (!text.ok()) return InvalidValue("messages", "the model's chat template refuses these messages");
    tokens = model.tokenizer->Encode(*text, {.add_special_tokens = false});
  } else if (const auto* ids = std::get_if<std::vector<TokenId>>(&request.prompts.at(prompt))) {
    tokens = *ids;
  } else {
    tokens = model.tokenizer->Encode(std::get<std::string>(request.prompts.at(prompt)));
  }
  const std::string_view param = request.endpoint == Endpoint::kChat ? "messages" : "prompt";
  if (!tokens.ok()) return InvalidValue(param, "the text cannot be tokenized");
  if (tokens->empty()) return InvalidValue(param, "the prompt has no tokens");
  out = *std::move(tokens);
  return std::nullopt;
}

/// The prompt as the client wrote it, or what its ids stand for.
std::string Echo(const GenerationRequest& request, const ModelInfo& model, std::size_t prompt) {
  const GenerationRequest::Prompt& given = request.prompts.at(prompt);
  if (const auto* text = std::get_if<std::string>(&given)) return *text;
  return model.tokenizer->Decode(std::get<std::vector<TokenId>>(given), request.skip_special_tokens);
}

}  // namespace

std::optional<ApiError> MakeJob(const GenerationRequest& request, const ModelInfo& model,
                                std::int64_t context_tokens, std::uint64_t fallback_seed, Job& out,
                                std::size_t prompt_index) {
  std::vector<TokenId> prompt;
  if (auto error = Tokenize(request, model, prompt_index, prompt)) return error;
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  const std::int64_t room = context_tokens - prompt_tokens;
  const std::int64_t least = request.max_tokens == 0 ? 0 : 1;  // 0: the prompt's echo alone
  if (room < least || request.max_tokens.value_or(1) > room) {
    return ContextLengthExceeded(context_tokens, prompt_tokens, request.max_tokens.value_or(1));
  }
  const bool chat = request.endpoint == Endpoint::kChat;
  const std::int64_t silent =
      chat ? room : std::min(room, std::max(kCompletionTokensDefault, request.min_tokens));
  out.endpoint = request.endpoint;
  out.max_tokens = request.max_tokens.value_or(silent);
  out.min_tokens = request.min_tokens;
  if (out.min_tokens > out.max_tokens) {
    return InvalidValue("min_tokens", "'min_tokens' does not fit into the model's context after this prompt");
  }
  const SamplingParameters& defaults = model.defaults;
  out.sampling = {.temperature = request.temperature.value_or(defaults.temperature),
                  .top_p = request.top_p.value_or(defaults.top_p),
                  .top_k = static_cast<std::int32_t>(request.top_k.value_or(defaults.top_k)),
                  .min_p = request.min_p.value_or(defaults.min_p),
                  .seed = request.seed.value_or(fallback_seed),
                  .repetition_penalty = request.repetition_penalty,
                  .presence_penalty = request.presence_penalty,
                  .frequency_penalty = request.frequency_penalty,
                  .bias = request.bias,
                  .logprobs = request.logprobs,
                  .samples = request.choices,
                  .grammar = request.grammar};
  if (out.sampling.samples > 1 && out.sampling.temperature == 0) {
    return InvalidValue("n", "'n' must be 1 where 'temperature' is 0: all choices would be the same");
  }
  out.stop_ids = request.stop_token_ids;
  // A grammar's text ends with an end token, whatever the client says.
  if (!request.ignore_eos || !request.grammar.empty())
    out.stop_ids.insert(out.stop_ids.end(), model.end_ids.begin(), model.end_ids.end());
  std::sort(out.stop_ids.begin(), out.stop_ids.end());
  out.stop_ids.erase(std::unique(out.stop_ids.begin(), out.stop_ids.end()), out.stop_ids.end());
  out.answer = {.tokens_max = out.max_tokens,
                .skip_special_tokens = request.skip_special_tokens,
                .stop = request.stop,
                .include_stop_text = request.include_stop_text,
                .client_stop_ids = request.stop_token_ids,
                .logprobs = request.logprobs >= 0};
  if (request.echo) out.answer.prefix = Echo(request, model, prompt_index);
  out.cache_salt = request.cache_salt;
  out.prefixes = text::PrefixNames(out.cache_salt, prompt, kPrefixBlockTokens);
  out.prompt = std::make_shared<const std::vector<TokenId>>(std::move(prompt));
  return std::nullopt;
}

}  // namespace baton::router
