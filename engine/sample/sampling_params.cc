#include "engine/sample/sampling_params.h"

#include <cmath>

#include "common/base/error.h"
#include "common/base/random.h"

namespace baton::engine {
namespace {

constexpr double kMaxTemperature = 2;  // these bounds are the OpenAI API's
constexpr double kMaxPenalty = 2;
constexpr float kMaxBias = 100;

}  // namespace

absl::Status Validate(const SamplingParams& params) {
  if (!(params.temperature >= 0 && params.temperature <= kMaxTemperature)) {
    return Error(kInvalidArgument, "temperature must be between 0 and {}, not {}", kMaxTemperature,
                 params.temperature);
  }
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return Error(kInvalidArgument, "top_p must be above 0 and at most 1, not {}", params.top_p);
  }
  if (params.top_k < 0) return Error(kInvalidArgument, "top_k must be 0 (off) or more, not {}", params.top_k);
  if (!(params.min_p >= 0 && params.min_p <= 1)) {
    return Error(kInvalidArgument, "min_p must be between 0 and 1, not {}", params.min_p);
  }
  if (!(std::isfinite(params.repetition_penalty) && params.repetition_penalty > 0)) {
    return Error(kInvalidArgument, "repetition_penalty must be above 0, not {}", params.repetition_penalty);
  }
  if (!(std::abs(params.presence_penalty) <= kMaxPenalty)) {
    return Error(kInvalidArgument, "presence_penalty must be between -2 and 2, not {}",
                 params.presence_penalty);
  }
  if (!(std::abs(params.frequency_penalty) <= kMaxPenalty)) {
    return Error(kInvalidArgument, "frequency_penalty must be between -2 and 2, not {}",
                 params.frequency_penalty);
  }
  for (const TokenBias& bias : params.bias) {
    if (bias.token < 0 || !(std::abs(bias.bias) <= kMaxBias)) {
      return Error(kInvalidArgument, "bias of token {} must be between -100 and 100, not {}", bias.token,
                   bias.bias);
    }
  }
  return absl::OkStatus();
}

std::uint64_t SeedOfSample(std::uint64_t seed, std::int32_t sample) {
  return sample == 0 ? seed : CounterBits(Mix64(seed), static_cast<std::uint64_t>(sample));
}

}  // namespace baton::engine
