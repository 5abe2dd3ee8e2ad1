#pragma once

#include <cstdint>
#include <optional>
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

/// What of a row of logits a choice depends on, where nothing masks or adjusts them.
struct LogitsNeeded {
  std::int64_t candidates = 0;  // so many of the highest; no more than the vocabulary
  bool draw = false;            // what kernels::Backend::Draw finds
  /// Neither will do.
  [[nodiscard]] bool All() const { return candidates == 0 && !draw; }
};
/// What is known of a row: as many candidates as are needed or more, falling, of equals the lower id first,
/// and what has been drawn.
struct KnownLogits {
  std::span<const std::int32_t> tokens{};
  std::span<const float> logits{};
  std::int32_t drawn = -1;
  double total = 0;
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

  [[nodiscard]] static LogitsNeeded Needed(const SamplingParams& params);
  /// The number that the draw of this position is made of.
  [[nodiscard]] static double UniformAt(const SamplingParams& params, std::int64_t position,
                                        std::int32_t sample = 0);
  /// The same token from what is needed, which is not all. Nothing where that does not decide it: more of the
  /// likeliest are wanted than are known, or a rounding would.
  [[nodiscard]] std::optional<TokenId> SampleKnown(const KnownLogits& known, const SamplingParams& params,
                                                   std::int64_t position, std::int32_t sample = 0);

 private:
  std::span<const float> Adjust(std::span<const float> logits, const SamplingParams& params,
                                const SamplingContext& context);
  TokenId Draw(std::span<const float> logits, const SamplingParams& params, double uniform);
  TokenId DrawFromOrder(std::span<const float> logits, const SamplingParams& params, double uniform,
                        TokenId best);
  void Weigh(std::span<const float> logits, const SamplingParams& params, TokenId best);
  TokenId DrawByWeight(double uniform, TokenId best) const;
  [[nodiscard]] bool IsToken(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < probabilities_.size();
  }
  bool KeepKnownMass(const SamplingParams& params, double total, bool whole);

  std::vector<std::int32_t> order_;    // scratch
  std::vector<double> probabilities_;  // scratch
  std::vector<float> adjusted_;        // scratch
};

}  // namespace baton::engine
