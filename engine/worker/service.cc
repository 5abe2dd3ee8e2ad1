#include "engine/worker/service.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/cluster/wire.pb.h"

namespace baton::engine {
namespace {

constexpr std::int32_t kLogprobsMax = 20;  // the OpenAI API's

void Fill(const Logprobs& logprobs, wire::Logprobs& out) {
  out.set_chosen(logprobs.chosen);
  for (const TokenLogprob& top : logprobs.top) {
    out.add_tokens(top.token);
    out.add_logprobs(top.logprob);
  }
}

}  // namespace

SamplingParams FromWire(const wire::Sampling& sampling) {
  std::vector<TokenBias> bias;
  for (int i = 0; i < std::min(sampling.bias_tokens_size(), sampling.bias_values_size()); ++i) {
    bias.push_back({.token = sampling.bias_tokens(i), .bias = sampling.bias_values(i)});
  }
  return {.temperature = sampling.temperature(),
          .top_p = sampling.top_p() > 0 ? sampling.top_p() : 1,
          .top_k = sampling.top_k(),
          .min_p = sampling.min_p(),
          .seed = sampling.seed(),
          .repetition_penalty = sampling.repetition_penalty() != 0 ? sampling.repetition_penalty() : 1,
          .presence_penalty = sampling.presence_penalty(),
          .frequency_penalty = sampling.frequency_penalty(),
          .bias = std::move(bias)};
}

std::int32_t LogprobsWanted(const wire::Sampling& sampling) {
  return sampling.logprobs() ? std::clamp(sampling.top_logprobs(), 0, kLogprobsMax) : -1;
}

std::int32_t SamplesWanted(const wire::Sampling& sampling) {
  return std::clamp(sampling.samples(), 1, kSamplesMax);
}

absl::StatusOr<std::shared_ptr<const grammar::Grammar>> GrammarWanted(const wire::Sampling& sampling,
                                                                      const StopRules& stop,
                                                                      GrammarCache* grammars) {
  if (sampling.grammar().empty()) return std::shared_ptr<const grammar::Grammar>();
  if (grammars == nullptr)
    return Error(kFailedPrecondition, "this worker's vocabulary cannot follow a grammar");
  if (stop.stop_ids.empty()) return Error(kInvalidArgument, "a grammar needs a stop id that ends its texts");
  return grammars->Find(sampling.grammar());
}

void ToWire(const TokenEvent& event, wire::Token& out) {
  out.set_request(event.key.request.value);
  out.set_attempt(event.key.attempt.value);
  out.set_index(event.index);
  out.set_token(event.token);
  out.set_sample(event.sample);
  if (event.finish == FinishReason::kStop) out.set_finish("stop");
  if (event.finish == FinishReason::kLength) out.set_finish("length");
  if (event.logprobs) Fill(*event.logprobs, *out.mutable_logprobs());
}

void ToWire(const PromptLogprobsEvent& event, wire::PromptLogprobs& out) {
  out.set_request(event.key.request.value);
  out.set_attempt(event.key.attempt.value);
  out.set_first(event.first);
  for (const Logprobs& logprobs : event.logprobs) Fill(logprobs, *out.add_logprobs());
}

StopRules FromWire(const wire::Stop& stop) {
  return {.max_tokens = stop.max_tokens(),
          .min_tokens = stop.min_tokens(),
          .stop_ids = {stop.stop_ids().begin(), stop.stop_ids().end()}};
}

absl::Status CheckOrder(const std::vector<TokenId>& prompt, std::int64_t resumed, std::int32_t samples,
                        const SamplingParams& sampling, const StopRules& stop, const ModelConfig& model) {
  if (resumed < 0 || (resumed > 0 && (samples != 1 || resumed >= stop.max_tokens))) {
    return Error(kInvalidArgument, "{} answers of at most {} tokens cannot go on after {}", samples,
                 stop.max_tokens, resumed);
  }
  const std::int64_t length = std::ssize(prompt) - resumed;
  if (length <= 0) return Error(kInvalidArgument, "the prompt is empty");
  if (stop.max_tokens < 1 || stop.max_tokens > model.context - length) {
    return Error(kInvalidArgument,
                 "a prompt of {} tokens and an answer of {} do not fit into a context of {}", length,
                 stop.max_tokens, model.context);
  }
  for (const TokenId token : prompt) {
    if (token < 0 || token >= model.vocabulary) {
      return Error(kInvalidArgument, "token {} is not in the vocabulary of {}", token, model.vocabulary);
    }
  }
  return Validate(sampling);
}

Outcome Failed(std::string code, const absl::Status& status) {
  return {.name = "failed", .code = std::move(code), .message = Message(status)};
}

void ToWire(RequestKey key, const Outcome& outcome, wire::Released& out) {
  out.set_request(key.request.value);
  out.set_attempt(key.attempt.value);
  out.set_outcome(outcome.name);
  out.set_error_code(outcome.code);
  out.set_error_message(outcome.message);
}

Outcome FailedTransfer(const absl::Status& status) {
  if (status.code() == kUnavailable) return Failed("peer_lost", status);
  return Failed("kv_transfer", status);
}

}  // namespace baton::engine
