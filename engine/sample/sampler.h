#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "engine/sample/sampling_params.h"
#include "engine/sample/token_history.h"

namespace baton::engine {

/// What a choice depends on beside logits and parameters.
struct SamplingContext {
  /// One bit a token of the vocabulary, token 0 in the lowest bit of the first word: those that may be
  /// chosen. Empty: all.
  std::span<const std::uint64_t> allowed;
  /// Never chosen, unless nothing else is allowed.
  std::span<const TokenId> banned;
  /// Needed where the parameters penalize.
  const TokenHistory* history = nullptr;
  /// Which of several answers to one prompt: each draws with a seed of its own, made from the parameters'.
  std::int32_t sample = 0;
};

/// The token at `position` of a sequence (0 = the prompt's first). A pure function of its arguments: the same
/// logits, parameters, seed, position and context give the same token on any worker, so that sampling
/// survives a move. Ties go to the lower id.
/// In this order: allowed, banned, bias, penalties (repetition, frequency, presence), temperature, top-k,
/// min-p, top-p; each over what the earlier ones left.
class Sampler {
 public:
  explicit Sampler(std::int32_t vocabulary_size);
  [[nodiscard]] TokenId Sample(std::span<const float> logits, const SamplingParams& params,
                               std::int64_t position, const SamplingContext& context = {});

  /// How many of the highest logits the choice depends on alone, where nothing masks or adjusts them; 0: on
  /// all.
  [[nodiscard]] static std::int64_t CandidatesNeeded(const SamplingParams& params);
  /// The same token, from so many candidates or more, falling, of equals the lower id first.
  [[nodiscard]] TokenId SampleAmong(std::span<const std::int32_t> tokens, std::span<const float> logits,
                                    const SamplingParams& params, std::int64_t position,
                                    std::int32_t sample = 0);

 private:
  std::span<const float> Adjust(std::span<const float> logits, const SamplingParams& params,
                                const SamplingContext& context);
  TokenId Draw(std::span<const float> logits, const SamplingParams& params, std::uint64_t seed,
               std::int64_t position);
  TokenId DrawFromOrder(std::span<const float> logits, const SamplingParams& params, std::uint64_t seed,
                        std::int64_t position, TokenId best);

  std::vector<std::int32_t> order_;    // scratch
  std::vector<double> probabilities_;  // scratch
  std::vector<float> adjusted_;        // scratch
};

}  // namespace baton::engine
