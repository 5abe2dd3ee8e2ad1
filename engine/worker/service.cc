#include "engine/worker/service.h"

#include "common/base/error.h"
#include "common/cluster/wire.pb.h"

namespace baton::engine {

SamplingParams FromWire(const wire::Sampling& sampling) {
  return {.temperature = sampling.temperature(),
          .top_p = sampling.top_p() > 0 ? sampling.top_p() : 1,
          .top_k = sampling.top_k(),
          .min_p = sampling.min_p(),
          .seed = sampling.seed()};
}

StopRules FromWire(const wire::Stop& stop) {
  return {.max_tokens = stop.max_tokens(),
          .min_tokens = stop.min_tokens(),
          .stop_ids = {stop.stop_ids().begin(), stop.stop_ids().end()}};
}

absl::Status CheckOrder(const std::vector<TokenId>& prompt, const SamplingParams& sampling,
                        const StopRules& stop, const ModelConfig& model) {
  const auto length = static_cast<std::int64_t>(prompt.size());
  if (length == 0) return Error(kInvalidArgument, "the prompt is empty");
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

Outcome FailedTransfer(kvtransfer::TransferEnd end, const absl::Status& status) {
  if (end == kvtransfer::TransferEnd::kExpired) return Failed("deadline", status);
  if (status.code() == kUnavailable) return Failed("peer_lost", status);
  return Failed("kv_transfer", status);
}

}  // namespace baton::engine
