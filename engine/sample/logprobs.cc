#include "engine/sample/logprobs.h"

#include <algorithm>
#include <cmath>

namespace baton::engine {
namespace {

/// The `count` highest, in order. One pass: `count` is small.
std::vector<TokenLogprob> Highest(std::span<const float> logits, std::size_t count) {
  std::vector<TokenLogprob> top;
  top.reserve(count + 1);
  for (std::size_t i = 0; i < logits.size() && count > 0; ++i) {
    if (top.size() == count && !(logits[i] > top.back().logprob)) continue;
    const auto at = std::upper_bound(top.begin(), top.end(), logits[i],
                                     [](float value, const TokenLogprob& t) { return value > t.logprob; });
    top.insert(at, {.token = static_cast<TokenId>(i), .logprob = logits[i]});
    if (top.size() > count) top.pop_back();
  }
  return top;
}

}  // namespace

Logprobs LogprobsOf(std::span<const float> logits, TokenId chosen, std::int32_t count) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - highest);
  const double log_total = highest + std::log(total);
  Logprobs out;
  out.chosen = static_cast<float>(static_cast<double>(logits[static_cast<std::size_t>(chosen)]) - log_total);
  out.top = Highest(logits, static_cast<std::size_t>(std::max(count, 0)));
  for (TokenLogprob& top : out.top) {
    top.logprob = static_cast<float>(static_cast<double>(top.logprob) - log_total);
  }
  return out;
}

}  // namespace baton::engine
