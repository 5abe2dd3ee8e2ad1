#include "router/policy/cost.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace baton::router {
namespace {

constexpr double kSecondsPerHour = 3600;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

MarginalCost Weigh(double machine_seconds, double dollars_per_hour, double joules,
                   const CostWeights& weights) {
  MarginalCost cost{.dollars = machine_seconds / kSecondsPerHour * dollars_per_hour, .joules = joules};
  cost.weighed = weights.per_machine_dollar * cost.dollars + weights.per_joule * joules;
  return cost;
}

double Ttft(const PrefillCandidate& candidate) {
  return candidate.wait_s + candidate.prompt_s;
}

/// By how much a prediction with its margin misses an objective, in units of the objective; 0: it meets it.
double Lateness(double predicted_s, double sigma_s, double objective_s, double sigmas) {
  const double safe = predicted_s + sigmas * sigma_s;
  return safe <= objective_s ? 0 : safe / objective_s - 1;
}

/// For how long the machine's memory lasts once the request is there.
double FreenessWith(const DecodeCandidate& candidate, const CostRequest& request) {
  const auto left = static_cast<double>(candidate.free_tokens - request.kv_tokens);
  return left / (candidate.sequences + 1) * candidate.step_with_s;
}

template <typename Candidate>
struct Best {
  const Candidate* candidate = nullptr;
  MarginalCost cost;
  double lateness = kInfinity;
  double seconds = kInfinity;

  /// On time before late, then less late, then cheaper, then faster, then the lower machine.
  void Offer(const Candidate& other, const MarginalCost& other_cost, double other_lateness,
             double other_seconds) {
    const auto key = std::tuple(other_lateness, other_cost.weighed, other_seconds, other.machine);
    if (candidate != nullptr && key >= std::tuple(lateness, cost.weighed, seconds, candidate->machine))
      return;
    candidate = &other;
    cost = other_cost;
    lateness = other_lateness;
    seconds = other_seconds;
  }
};

Best<PrefillCandidate> BestPrefill(std::span<const PrefillCandidate> candidates,
                                   const CostObjectives& objectives, const CostWeights& weights) {
  Best<PrefillCandidate> best;
  for (const PrefillCandidate& candidate : candidates) {
    const double ttft = Ttft(candidate);
    best.Offer(candidate, CostOf(candidate, weights),
               Lateness(ttft, candidate.sigma_s, objectives.ttft_s, objectives.sigmas), ttft);
  }
  return best;
}

Best<DecodeCandidate> BestDecode(const CostRequest& request, std::span<const DecodeCandidate> candidates,
                                 double ttft_s, const CostObjectives& objectives,
                                 const CostWeights& weights) {
  Best<DecodeCandidate> best;
  for (const DecodeCandidate& candidate : candidates) {
    if (candidate.free_tokens < request.kv_tokens) continue;
    if (FreenessWith(candidate, request) < objectives.freeness_min_s) continue;
    // A machine that wakes up after the prompt is done holds the answer up; that spreads over its tokens.
    const double held_up =
        std::max(0.0, candidate.ready_in_s - ttft_s) / std::max(1.0, request.answer_tokens);
    const double tbt = candidate.step_with_s + held_up;
    best.Offer(candidate, CostOf(candidate, request.answer_tokens, weights),
               Lateness(tbt, candidate.sigma_s, objectives.tbt_s, objectives.sigmas), tbt);
  }
  return best;
}

CostPlacement Refused(CostRefusal refusal) {
  return {.refusal = refusal};
}

}  // namespace

MarginalCost CostOf(const PrefillCandidate& candidate, const CostWeights& weights) {
  const double joules = candidate.prompt_s * std::max(0.0, candidate.watts - candidate.idle_watts);
  return Weigh(candidate.prompt_s, candidate.dollars_per_hour, joules, weights);
}

MarginalCost CostOf(const DecodeCandidate& candidate, double answer_tokens, const CostWeights& weights) {
  const double before = candidate.step_s * std::max(0.0, candidate.watts - candidate.idle_watts);
  const double after = candidate.step_with_s * std::max(0.0, candidate.watts_with - candidate.idle_watts);
  // A model of time may say, within its noise, that one more sequence costs nothing; it never pays back.
  const double joules = answer_tokens * std::max(0.0, after - before);
  const double seconds = answer_tokens * std::max(0.0, candidate.step_with_s - candidate.step_s);
  return Weigh(seconds, candidate.dollars_per_hour, joules, weights);
}

std::string_view Name(CostRefusal refusal) {
  switch (refusal) {
    case CostRefusal::kNoMachines:
      return "no_machines";
    case CostRefusal::kTtft:
      return "ttft";
    case CostRefusal::kTbt:
      return "tbt";
    case CostRefusal::kMemory:
      return "memory";
  }
  return "";
}

CostPlacement PlaceByCost(const CostRequest& request, std::span<const PrefillCandidate> prefill,
                          std::span<const DecodeCandidate> decode, const CostObjectives& objectives,
                          const CostWeights& weights) {
  if (prefill.empty() || decode.empty()) return Refused(CostRefusal::kNoMachines);
  const Best<PrefillCandidate> first = BestPrefill(prefill, objectives, weights);
  if (first.lateness > 0 && !objectives.best_effort) return Refused(CostRefusal::kTtft);
  const Best<DecodeCandidate> second = BestDecode(request, decode, first.seconds, objectives, weights);
  if (second.candidate == nullptr) return Refused(CostRefusal::kMemory);
  if (second.lateness > 0 && !objectives.best_effort) return Refused(CostRefusal::kTbt);
  return {.pair = {.prompt = first.candidate->machine, .token = second.candidate->machine},
          .cost = {.dollars = first.cost.dollars + second.cost.dollars,
                   .joules = first.cost.joules + second.cost.joules,
                   .weighed = first.cost.weighed + second.cost.weighed},
          .ttft_s = first.seconds,
          .tbt_s = second.seconds,
          .late = first.lateness > 0 || second.lateness > 0};
}

DecodeForecast ForecastDecode(const DecodeNow& now, double ahead_s) {
  const double step_s = std::max(now.step_s, 1e-6);  // nothing decodes faster
  const double lifetime_s = std::max(1.0, now.remaining_tokens) * step_s;
  DecodeForecast forecast;
  const auto add = [&](double sequences, double context, double for_s) {
    const double staying = sequences * std::exp(-for_s / lifetime_s);
    forecast.sequences += staying;
    forecast.context_tokens += staying * (context + for_s / step_s);
  };
  if (now.sequences > 0) add(now.sequences, now.context_tokens / now.sequences, ahead_s);
  for (const InFlight& answer : now.in_flight) {
    if (answer.arrives_in_s > ahead_s) continue;
    add(1, static_cast<double>(answer.context_tokens), ahead_s - std::max(0.0, answer.arrives_in_s));
  }
  return forecast;
}

}  // namespace baton::router
