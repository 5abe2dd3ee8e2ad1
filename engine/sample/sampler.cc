#include "engine/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"
#include "common/base/random.h"

namespace baton::engine {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();
constexpr std::size_t kFirstSorted = 64;  // candidates that top-p sorts at first; most nuclei are smaller

TokenId Greedy(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<TokenId>(best);
}

/// By falling logit; ties by rising id.
struct Likelier {
  std::span<const float> logits;
  bool operator()(std::int32_t a, std::int32_t b) const {
    const float left = logits[static_cast<std::size_t>(a)];
    const float right = logits[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  }
};

/// Keeps the `count` likeliest, in order.
void KeepTopK(std::vector<std::int32_t>& order, std::size_t count, const Likelier& likelier) {
  if (count < order.size()) {
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                     likelier);
    order.resize(count);
  }
  std::sort(order.begin(), order.end(), likelier);
}

/// Keeps the fewest likeliest whose weights reach `mass`, in order. Sorts no more than it has to.
void KeepMass(std::vector<std::int32_t>& order, const std::vector<double>& weights, double mass,
              const Likelier& likelier) {
  double reached = 0;
  std::size_t kept = 0;
  for (std::size_t sorted = 0; sorted < order.size();) {
    const std::size_t end = std::min(order.size(), std::max(kFirstSorted, sorted * 4));
    std::partial_sort(order.begin() + static_cast<std::ptrdiff_t>(sorted),
                      order.begin() + static_cast<std::ptrdiff_t>(end), order.end(), likelier);
    for (; kept < end && (kept == 0 || reached < mass); ++kept) {
      reached += weights[static_cast<std::size_t>(order[kept])];
    }
    if (reached >= mass) break;
    sorted = end;
  }
  order.resize(kept);
}

double Total(const std::vector<std::int32_t>& order, const std::vector<double>& weights) {
  double total = 0;
  for (const std::int32_t id : order) total += weights[static_cast<std::size_t>(id)];
  return total;
}

bool IsAllowed(std::span<const std::uint64_t> allowed, std::size_t id) {
  return (allowed[id / 64] >> (id % 64) & 1U) != 0;
}

/// Masks what is not allowed, then what is banned; the ban yields where it would leave nothing.
void Mask(std::span<const float> logits, const SamplingContext& context, std::span<float> out) {
  if (!context.allowed.empty()) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!IsAllowed(context.allowed, i)) out[i] = kExcluded;
    }
  }
  const auto inside = [&](TokenId id) { return id >= 0 && static_cast<std::size_t>(id) < out.size(); };
  for (const TokenId id : context.banned) {
    if (inside(id)) out[static_cast<std::size_t>(id)] = kExcluded;
  }
  if (context.banned.empty() || context.allowed.empty()) return;
  if (std::any_of(out.begin(), out.end(), [](float logit) { return logit > kExcluded; })) return;
  for (const TokenId id : context.banned) {
    const auto i = static_cast<std::size_t>(id);
    if (inside(id) && IsAllowed(context.allowed, i)) out[i] = logits[i];
  }
}

void Penalize(const SamplingParams& params, const TokenHistory& history, std::span<float> out) {
  for (const TokenHistory::Entry& entry : history.Entries()) {
    float& logit = out[static_cast<std::size_t>(entry.token)];
    double value = logit;
    value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
    if (entry.answered > 0) value -= params.frequency_penalty * entry.answered + params.presence_penalty;
    logit = static_cast<float>(value);
  }
}

}  // namespace

Sampler::Sampler(std::int32_t vocabulary_size) : probabilities_(static_cast<std::size_t>(vocabulary_size)) {
  order_.reserve(probabilities_.size());
}

TokenId Sampler::Sample(std::span<const float> logits, const SamplingParams& params, std::int64_t position,
                        const SamplingContext& context) {
  BATON_CHECK(logits.size() == probabilities_.size(), "{} logits, vocabulary {}", logits.size(),
              probabilities_.size());
  return Draw(Adjust(logits, params, context), params, SeedOfSample(params.seed, context.sample), position);
}

/// The logits themselves where nothing is to be done.
std::span<const float> Sampler::Adjust(std::span<const float> logits, const SamplingParams& params,
                                       const SamplingContext& context) {
  const bool masks = !context.allowed.empty() || !context.banned.empty();
  if (!masks && params.bias.empty() && !params.Penalizes()) return logits;
  BATON_CHECK(context.allowed.empty() || context.allowed.size() == (logits.size() + 63) / 64,
              "a mask of {} words, vocabulary {}", context.allowed.size(), logits.size());
  adjusted_.assign(logits.begin(), logits.end());
  Mask(logits, context, adjusted_);
  for (const TokenBias& bias : params.bias) {
    const auto i = static_cast<std::size_t>(bias.token);
    if (bias.token >= 0 && i < adjusted_.size()) adjusted_[i] += bias.bias;
  }
  if (params.Penalizes()) {
    BATON_CHECK(context.history != nullptr, "penalties without a history");
    Penalize(params, *context.history, adjusted_);
  }
  return adjusted_;
}

TokenId Sampler::Draw(std::span<const float> logits, const SamplingParams& params, std::uint64_t seed,
                      std::int64_t position) {
  const TokenId best = Greedy(logits);
  const float highest = logits[static_cast<std::size_t>(best)];
  if (params.temperature <= 0 || params.top_k == 1 || !std::isfinite(highest)) return best;

  const Likelier likelier{logits};
  order_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > kExcluded) order_.push_back(static_cast<std::int32_t>(i));
  }
  if (params.top_k > 0) KeepTopK(order_, static_cast<std::size_t>(params.top_k), likelier);
  return DrawFromOrder(logits, params, seed, position, best);
}

std::int64_t Sampler::CandidatesNeeded(const SamplingParams& params) {
  constexpr std::int32_t kCandidatesMax = 64;  // more are not worth finding apart
  if (params.temperature <= 0 || params.top_k == 1) return 1;
  return params.top_k > 1 && params.top_k <= kCandidatesMax ? params.top_k : 0;
}

TokenId Sampler::SampleAmong(std::span<const std::int32_t> tokens, std::span<const float> logits,
                             const SamplingParams& params, std::int64_t position, std::int32_t sample) {
  const auto needed = static_cast<std::size_t>(CandidatesNeeded(params));
  BATON_CHECK(needed > 0 && tokens.size() >= std::min(needed, probabilities_.size()) &&
                  tokens.size() == logits.size(),
              "{} candidates of {}", tokens.size(), needed);
  const auto known = [this](std::int32_t id) {
    return id >= 0 && static_cast<std::size_t>(id) < probabilities_.size();
  };
  const TokenId best = known(tokens[0]) ? tokens[0] : 0;  // unknown: the logits are no numbers
  if (needed == 1 || !std::isfinite(logits[0])) return best;
  adjusted_.resize(probabilities_.size());  // at the candidates' places: theirs; nobody looks at the others
  order_.clear();
  for (std::size_t i = 0; i < std::min(needed, tokens.size()); ++i) {
    if (!known(tokens[i]) || !(logits[i] > kExcluded)) continue;
    adjusted_[static_cast<std::size_t>(tokens[i])] = logits[i];
    order_.push_back(tokens[i]);
  }
  return DrawFromOrder(adjusted_, params, SeedOfSample(params.seed, sample), position, best);
}

/// Among those of `order_`.
TokenId Sampler::DrawFromOrder(std::span<const float> logits, const SamplingParams& params,
                               std::uint64_t seed, std::int64_t position, TokenId best) {
  const Likelier likelier{logits};
  const float highest = logits[static_cast<std::size_t>(best)];
  for (const std::int32_t id : order_) {  // weights relative to the likeliest, which has 1
    const auto i = static_cast<std::size_t>(id);
    probabilities_[i] = std::exp((static_cast<double>(logits[i]) - highest) / params.temperature);
  }
  if (params.min_p > 0) {
    std::erase_if(
        order_, [&](std::int32_t id) { return probabilities_[static_cast<std::size_t>(id)] < params.min_p; });
  }
  if (params.top_p < 1)
    KeepMass(order_, probabilities_, params.top_p * Total(order_, probabilities_), likelier);

  const double target =
      CounterUniform(seed, static_cast<std::uint64_t>(position)) * Total(order_, probabilities_);
  double reached = 0;
  TokenId chosen = best;
  for (const std::int32_t id : order_) {
    const double weight = probabilities_[static_cast<std::size_t>(id)];
    if (weight <= 0) continue;  // underflow: no chance, and not the fall-back for rounding either
    chosen = id;
    reached += weight;
    if (reached > target) break;
  }
  return chosen;
}

}  // namespace baton::engine
