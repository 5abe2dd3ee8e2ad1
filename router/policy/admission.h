#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/cluster/view.h"
#include "router/policy/placement.h"

namespace baton::router {

/// Bounds of what waits: admitted, first token not yet there. Both hold.
struct AdmissionLimits {
  std::int64_t queue_requests = 256;
  std::int64_t queue_prompt_tokens = 200'000;
};

enum class Refusal {
  kDraining,          // the router is leaving
  kModelNotFound,     // the workers that are here serve other models
  kNoPrefillWorkers,  // none is ready
  kNoDecodeWorkers,   // none is ready, or none can be reached from a prefill worker
  kTooLarge,          // no worker could hold it, even alone
  kQueueFull,
};
inline constexpr std::array kRefusals = {Refusal::kDraining,         Refusal::kModelNotFound,
                                         Refusal::kNoPrefillWorkers, Refusal::kNoDecodeWorkers,
                                         Refusal::kTooLarge,         Refusal::kQueueFull};
/// "draining", "model_not_found", "no_prefill_workers", "no_decode_workers", "too_large", "queue_full".
[[nodiscard]] std::string_view Name(Refusal refusal);

/// Nothing: the request is admitted, and waits for its placement. Decided before any byte of the answer.
/// Pure.
[[nodiscard]] std::optional<Refusal> Admit(const cluster::ClusterSnapshot& snapshot,
                                           const RequestSize& request, const AdmissionLimits& limits);

/// Whether ready workers of the model could hold the request, alone: of each phase one, linked or not. Pure.
[[nodiscard]] bool CanBeHeld(const cluster::ClusterSnapshot& snapshot, const RequestSize& request);

/// Whether some pair of workers serves `model` now: what /ready says.
[[nodiscard]] std::optional<Refusal> WhyNotReady(const cluster::ClusterSnapshot& snapshot,
                                                 std::string_view model);

}  // namespace baton::router
