#include "router/generate.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/error.h"
#include "common/text/prefix_hash.h"
#include "router/policy/prefix_index.h"

namespace baton::router {
namespace {

// What OpenAI's completions endpoint does where the client is silent; chats may use the whole context.
constexpr std::int64_t kCompletionTokensDefault = 16;

/// The messages with every `content` that is null as an empty text.
json::Array WithoutNulls(const json::Array& messages) {
  json::Array out = messages;
  for (json::Value& message : out) {
    json::Object members = *message.AsObject();
    for (auto& [key, value] : members) {
      if (key == "content" && value.IsNull()) value = "";
    }
    message = std::move(members);
  }
  return out;
}

/// The messages with the arguments of tool calls as the JSON that they are on the wire.
json::Array WithArgumentsAsText(const json::Array& messages) {
  json::Array out = messages;
  for (json::Value& message : out) {
    if (message.Find("tool_calls") == nullptr) continue;
    json::Object members = *message.AsObject();
    json::Array calls = *message.Find("tool_calls")->AsArray();
    for (json::Value& call : calls) {
      const json::Value& function = *call.Find("function");
      json::Object changed = *call.AsObject();
      for (auto& [key, value] : changed) {
        if (key != "function") continue;
        value = json::Object{{"name", *function.Find("name")},
                             {"arguments", json::Serialize(*function.Find("arguments"))}};
      }
      call = std::move(changed);
    }
    for (auto& [key, value] : members) {
      if (key == "tool_calls") value = calls;
    }
    message = std::move(members);
  }
  return out;
}

/// The chat as the model's template writes it. Templates do not agree on what a message that only calls tools
/// looks like: its content is null or "", its arguments are an object or text. Null and an object come first,
/// and then what a template that failed may have meant.
absl::StatusOr<std::string> RenderChat(const GenerationRequest& request, const text::ChatTemplate& chat) {
  text::ChatInput input{.messages = request.messages,
                        .add_generation_prompt = true,
                        .tools = request.tools,
                        .documents = request.documents,
                        .extra = request.template_variables};
  absl::StatusOr<std::string> text = chat.Render(input);
  const bool calls = std::ranges::any_of(
      request.messages, [](const json::Value& each) { return each.Find("tool_calls") != nullptr; });
  if (!calls || text.ok() || text.status().code() != kInvalidArgument) return text;
  input.messages = WithoutNulls(request.messages);
  text = chat.Render(input);
  if (text.ok()) return text;
  input.messages = WithArgumentsAsText(request.messages);
  return chat.Render(input);
}

/// What a chat brings and the template has no place for: its answer would be that to another question.
std::optional<ApiError> CheckTemplateTakes(const GenerationRequest& request, const text::ChatTemplate& chat) {
  if (request.tools && !chat.Reads("tools"))
    return UnsupportedParameter("tools", "this model's chat template has no place for tools");
  if (request.documents && !chat.Reads("documents"))
    return UnsupportedParameter("documents", "this model's chat template has no place for documents");
  return std::nullopt;
}

std::optional<ApiError> Tokenize(const GenerationRequest& request, const ModelInfo& model, std::size_t prompt,
                                 std::vector<TokenId>& out) {
  absl::StatusOr<std::vector<TokenId>> tokens;
  if (request.endpoint == Endpoint::kChat) {
    if (model.chat_template == nullptr) {
      return UnsupportedParameter("messages", "this model has no chat template; use /v1/completions");
    }
    if (auto error = CheckTemplateTakes(request, *model.chat_template)) return error;
    const absl::StatusOr<std::string> text = RenderChat(request, *model.chat_template);
    if (!text.ok()) return InvalidValue("messages", "the model's chat template refuses these messages");
    tokens = model.tokenizer->Encode(*text, {.add_special_tokens = request.add_special_tokens});
  } else if (const auto* ids = std::get_if<std::vector<TokenId>>(&request.prompts.at(prompt))) {
    tokens = *ids;
  } else {
    tokens = model.tokenizer->Encode(std::get<std::string>(request.prompts.at(prompt)),
                                     {.add_special_tokens = request.add_special_tokens});
  }
  const std::string_view param = request.endpoint == Endpoint::kChat ? "messages" : "prompt";
  if (!tokens.ok())
    return InvalidValue(param, fmt::format("the text cannot be tokenized: {}", Message(tokens.status())));
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
  const bool judged = request.echo && request.logprobs >= 0;  // the prompt's tokens have log-probabilities
  // 0: the prompt's echo alone. What a worker is to look at makes one token.
  const std::int64_t least = request.max_tokens == 0 && !judged ? 0 : 1;
  if (room < least || request.max_tokens.value_or(1) > room) {
    return ContextLengthExceeded(context_tokens, prompt_tokens, request.max_tokens.value_or(1));
  }
  const bool chat = request.endpoint == Endpoint::kChat;
  const std::int64_t silent =
      chat ? room : std::min(room, std::max(kCompletionTokensDefault, request.min_tokens));
  out.endpoint = request.endpoint;
  out.max_tokens = std::max(request.max_tokens.value_or(silent), least);
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
                  .repetition_penalty = request.repetition_penalty.value_or(defaults.repetition_penalty),
                  .presence_penalty = request.presence_penalty,
                  .frequency_penalty = request.frequency_penalty,
                  .bias = request.bias,
                  .logprobs = request.logprobs,
                  .prompt_logprobs = judged,
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
  out.answer.prefix_alone = request.max_tokens == 0;
  out.cache_salt = request.cache_salt;
  // A prompt that is computed whole finds nothing in a worker's cache.
  if (!judged) out.prefixes = text::PrefixNames(out.cache_salt, prompt, kPrefixBlockTokens);
  out.prompt = std::make_shared<const std::vector<TokenId>>(std::move(prompt));
  return std::nullopt;
}

}  // namespace baton::router
