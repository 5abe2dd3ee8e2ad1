#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <absl/status/status.h>

#include "common/base/ids.h"

namespace baton::engine {

/// How a token is chosen. Defaults are greedy.
struct SamplingParams {
  double temperature = 0;  // 0 = greedy; finite, up to 2
  double top_p = 1;        // (0, 1]
  std::int32_t top_k = 0;  // 0 = off
  double min_p = 0;        // [0, 1]
  std::uint64_t seed = 0;
};

/// InvalidArgument names the field that is out of its range.
[[nodiscard]] absl::Status Validate(const SamplingParams& params);

/// The token at `position` of a sequence (0 = the prompt's first). A pure function of its arguments: the same
/// logits, parameters, seed and position give the same token on any worker, so that sampling survives a move.
/// Ties go to the lower id. Filters in this order: top-k, min-p, top-p, each over what the earlier ones left.
class Sampler {
 public:
  explicit Sampler(std::int32_t vocabulary_size);
  [[nodiscard]] TokenId Sample(std::span<const float> logits, const SamplingParams& params,
                               std::int64_t position);

 private:
  std::vector<std::int32_t> order_;    // scratch
  std::vector<double> probabilities_;  // scratch
};

}  // namespace baton::engine
