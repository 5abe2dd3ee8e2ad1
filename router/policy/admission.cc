#include "router/policy/admission.h"

#include <algorithm>
#include <array>

namespace baton::router {
namespace {

using cluster::Phase;
using cluster::WorkerSnapshot;

template <typename Accept>
bool AnyPair(const cluster::ClusterSnapshot& snapshot, std::string_view model, Accept accept) {
  for (const WorkerSnapshot& p : snapshot.workers) {
    if (p.about.phase != Phase::kPrefill || !p.ready || p.about.model != model) continue;
    for (const WorkerSnapshot& d : snapshot.workers) {
      if (d.about.phase != Phase::kDecode || !d.ready || d.about.model != model) continue;
      if (Linked(p, d) && accept(p, d)) return true;
    }
  }
  return false;
}

}  // namespace

std::string_view Name(Refusal refusal) {
  switch (refusal) {
    case Refusal::kDraining:
      return "draining";
    case Refusal::kModelNotFound:
      return "model_not_found";
    case Refusal::kNoPrefillWorkers:
      return "no_prefill_workers";
    case Refusal::kNoDecodeWorkers:
      return "no_decode_workers";
    case Refusal::kTooLarge:
      return "too_large";
    case Refusal::kQueueFull:
      return "queue_full";
  }
  return "";
}

bool CanBeHeld(const cluster::ClusterSnapshot& snapshot, const RequestSize& request) {
  return std::ranges::all_of(std::array{Phase::kPrefill, Phase::kDecode}, [&](Phase phase) {
    return std::ranges::any_of(snapshot.workers, [&](const WorkerSnapshot& w) {
      return w.about.phase == phase && w.ready && w.about.model == request.model && CanHold(w, request);
    });
  });
}

std::optional<Refusal> WhyNotReady(const cluster::ClusterSnapshot& snapshot, std::string_view model) {
  if (snapshot.draining) return Refusal::kDraining;
  const auto ready = [&](Phase phase) {
    return std::any_of(snapshot.workers.begin(), snapshot.workers.end(), [&](const WorkerSnapshot& w) {
      return w.about.phase == phase && w.ready && w.about.model == model;
    });
  };
  const bool model_is_here = snapshot.workers.empty() ||
                             std::any_of(snapshot.workers.begin(), snapshot.workers.end(),
                                         [&](const WorkerSnapshot& w) { return w.about.model == model; });
  if (!model_is_here) return Refusal::kModelNotFound;
  if (!ready(Phase::kPrefill)) return Refusal::kNoPrefillWorkers;
  if (!ready(Phase::kDecode)) return Refusal::kNoDecodeWorkers;
  const bool reachable = AnyPair(snapshot, model, [](const auto&, const auto&) { return true; });
  if (!reachable) return Refusal::kNoDecodeWorkers;
  return std::nullopt;
}

std::optional<Refusal> Admit(const cluster::ClusterSnapshot& snapshot, const RequestSize& request,
                             const AdmissionLimits& limits) {
  if (const auto refusal = WhyNotReady(snapshot, request.model)) return refusal;
  const bool fits_somewhere =
      AnyPair(snapshot, request.model, [&](const WorkerSnapshot& p, const WorkerSnapshot& d) {
        return CanHold(p, request) && CanHold(d, request);
      });
  if (!fits_somewhere) return Refusal::kTooLarge;
  // A prompt longer than the whole bound is let in where nothing waits, else it could never be served.
  const bool tokens_fit = snapshot.queued_requests == 0 ||
                          snapshot.queued_prompt_tokens + request.prompt_tokens <= limits.queue_prompt_tokens;
  if (snapshot.queued_requests >= limits.queue_requests || !tokens_fit) return Refusal::kQueueFull;
  return std::nullopt;
}

}  // namespace baton::router
