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
  return Draw(Adjust(logits, params, context), params, UniformAt(params, position, context.sample));
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

TokenId Sampler::Draw(std::span<const float> logits, const SamplingParams& params, double uniform) {
  const TokenId best = Greedy(logits);
  const float highest = logits[static_cast<std::size_t>(best)];
  if (params.temperature <= 0 || params.top_k == 1 || !std::isfinite(highest)) return best;

  const Likelier likelier{logits};
  order_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > kExcluded) order_.push_back(static_cast<std::int32_t>(i));
  }
  if (params.top_k > 0) KeepTopK(order_, static_cast<std::size_t>(params.top_k), likelier);
  return DrawFromOrder(logits, params, uniform, best);
}

LogitsNeeded Sampler::Needed(const SamplingParams& params) {
  constexpr std::int32_t kCandidatesMax = 64;  // more are not worth finding apart
  if (params.temperature <= 0 || params.top_k == 1) return {.candidates = 1};
  if (params.top_k > kCandidatesMax) return {};
  if (params.top_k > 0) return {.candidates = params.top_k};
  // Most nuclei are smaller; the weights of all are needed to know how much the mass is.
  return {.candidates = params.top_p < 1 ? kCandidatesMax : 0, .draw = true};
}

double Sampler::UniformAt(const SamplingParams& params, std::int64_t position, std::int32_t sample) {
  return CounterUniform(SeedOfSample(params.seed, sample), static_cast<std::uint64_t>(position));
}

std::optional<TokenId> Sampler::SampleKnown(const KnownLogits& known, const SamplingParams& params,
                                            std::int64_t position, std::int32_t sample) {
  const LogitsNeeded needed = Needed(params);
  const auto candidates = std::min(static_cast<std::size_t>(needed.candidates), probabilities_.size());
  BATON_CHECK(
      !needed.All() && known.tokens.size() >= candidates && known.tokens.size() == known.logits.size(),
      "{} candidates of {}", known.tokens.size(), candidates);
  if (candidates == 0) return IsToken(known.drawn) ? std::optional(known.drawn) : std::nullopt;
  if (needed.draw && !(known.total > 0)) return std::nullopt;
  const TokenId best = IsToken(known.tokens[0]) ? known.tokens[0] : 0;  // no token: the logits are no numbers
  if (needed.candidates == 1 || !std::isfinite(known.logits[0])) return best;
  adjusted_.resize(probabilities_.size());  // at the candidates' places: theirs; nobody looks at the others
  order_.clear();
  for (std::size_t i = 0; i < candidates; ++i) {
    if (!IsToken(known.tokens[i]) || !(known.logits[i] > kExcluded)) continue;
    adjusted_[static_cast<std::size_t>(known.tokens[i])] = known.logits[i];
    order_.push_back(known.tokens[i]);
  }
  const double uniform = UniformAt(params, position, sample);
  if (!needed.draw) return DrawFromOrder(adjusted_, params, uniform, best);
  Weigh(adjusted_, params, best);
  if (!KeepKnownMass(params, known.total, order_.size() < candidates)) return std::nullopt;
  return DrawByWeight(uniform, best);
}

/// KeepMass among the candidates in `order_`, by a total that is right to a part in 2^30; `whole`: there are
/// no others. False where it is not sure that the mass ends at one of them, or where.
bool Sampler::KeepKnownMass(const SamplingParams& params, double total, bool whole) {
  const double mass = params.top_p * total;
  const double slack = total * 0x1p-29;
  whole |= order_.size() == probabilities_.size();
  double reached = 0;
  std::size_t kept = 0;
  for (; kept < order_.size(); ++kept) {
    const double weight = probabilities_[static_cast<std::size_t>(order_[kept])];
    if (weight < params.min_p) {
      whole = true;
      break;
    }
    if (kept > 0 && std::abs(reached - mass) <= slack) return false;
    if (kept > 0 && reached >= mass) break;
    reached += weight;
  }
  order_.resize(kept);
  return whole || reached > mass + slack;
}

/// Among those of `order_`.
TokenId Sampler::DrawFromOrder(std::span<const float> logits, const SamplingParams& params, double uniform,
                               TokenId best) {
  Weigh(logits, params, best);
  if (params.min_p > 0) {
    std::erase_if(
        order_, [&](std::int32_t id) { return probabilities_[static_cast<std::size_t>(id)] < params.min_p; });
  }
  if (params.top_p < 1)
    KeepMass(order_, probabilities_, params.top_p * Total(order_, probabilities_), Likelier{logits});
  return DrawByWeight(uniform, best);
}

/// Weights of those of `order_`, relative to the likeliest, which has 1.
void Sampler::Weigh(std::span<const float> logits, const SamplingParams& params, TokenId best) {
  const float highest = logits[static_cast<std::size_t>(best)];
  for (const std::int32_t id : order_) {
    const auto i = static_cast<std::size_t>(id);
    probabilities_[i] = std::exp((static_cast<double>(logits[i]) - highest) / params.temperature);
  }
}

TokenId Sampler::DrawByWeight(double uniform, TokenId best) const {
  const double target = uniform * Total(order_, probabilities_);
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
