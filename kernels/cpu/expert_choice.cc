#include "kernels/cpu/expert_choice.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"

namespace baton::kernels::cpu {

void ChooseExpertsOfRow(std::span<const float> logits, bool normalize, std::span<std::int32_t> experts,
                        std::span<float> shares) {
  BATON_CHECK(!experts.empty() && experts.size() <= logits.size());
  const auto better = [&](std::int32_t a, std::int32_t b) {
    const float left = logits[static_cast<std::size_t>(a)];
    const float right = logits[static_cast<std::size_t>(b)];
    return left > right || (left == right && a < b);
  };
  // The chosen so far, best first: with a handful of them insertion beats a heap.
  std::size_t kept = 0;
  for (std::int32_t expert = 0; expert < std::ssize(logits); ++expert) {
    std::size_t place = kept;
    while (place > 0 && better(expert, experts[place - 1])) --place;
    if (place == experts.size()) continue;
    kept = std::min(kept + 1, experts.size());
    for (std::size_t i = kept - 1; i > place; --i) experts[i] = experts[i - 1];
    experts[place] = expert;
  }
  const double highest = logits[static_cast<std::size_t>(experts.front())];
  std::ranges::sort(experts);
  const auto weight = [&](std::size_t expert) { return std::exp(logits[expert] - highest); };
  double total = 0;
  if (normalize) {
    for (const std::int32_t expert : experts) total += weight(static_cast<std::size_t>(expert));
  } else {
    for (std::size_t expert = 0; expert < logits.size(); ++expert) total += weight(expert);
  }
  for (std::size_t i = 0; i < experts.size(); ++i)
    shares[i] = static_cast<float>(weight(static_cast<std::size_t>(experts[i])) / total);
}

}  // namespace baton::kernels::cpu
