#pragma once

#include <cstdint>
#include <vector>

#include <absl/status/status.h>

#include "common/base/ids.h"

namespace baton::engine {

struct TokenBias {
  TokenId token = 0;
  float bias = 0;  // added to the token's logit; [-100, 100]
};

/// How a token is chosen. Defaults are greedy.
struct SamplingParams {
  double temperature = 0;  // 0 = greedy; finite, up to 2
  double top_p = 1;        // (0, 1]
  std::int32_t top_k = 0;  // 0 = off
  double min_p = 0;        // [0, 1]
  std::uint64_t seed = 0;
  double repetition_penalty = 1;  // finite, above 0; over prompt and answer
  double presence_penalty = 0;    // [-2, 2]; over the answer
  double frequency_penalty = 0;   // [-2, 2]; over the answer
  std::vector<TokenBias> bias = {};

  /// Whether the choice depends on the tokens so far.
  [[nodiscard]] bool Penalizes() const {
    return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0;
  }
};

/// InvalidArgument names the field that is out of its range.
[[nodiscard]] absl::Status Validate(const SamplingParams& params);

/// The seed of the `sample`-th of several answers to one prompt; the first has `seed` itself.
[[nodiscard]] std::uint64_t SeedOfSample(std::uint64_t seed, std::int32_t sample);

}  // namespace baton::engine
