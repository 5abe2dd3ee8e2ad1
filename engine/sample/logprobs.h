#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"

namespace baton::engine {

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

/// How likely the model itself held a token: of the raw logits, before masks, penalties, bias, temperature
/// and filters. -inf where it has no chance.
struct Logprobs {
  float chosen = 0;
  std::vector<TokenLogprob> top;  // by falling logprob; ties by rising id
};

/// `count` alternatives at most.
[[nodiscard]] Logprobs LogprobsOf(std::span<const float> logits, TokenId chosen, std::int32_t count);

}  // namespace baton::engine
