#include "engine/schedule/preemption.h"

#include <algorithm>
#include <limits>

namespace baton::engine {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::infinity();
// Costs are estimates: differences below a quarter say nothing, and age decides.
constexpr double kAsGood = 1.25;

double SecondsFor(std::int64_t amount, double rate) {
  if (amount == 0) return 0;
  return rate > 0 ? static_cast<double>(amount) / rate : kUnknown;
}

}  // namespace

PreemptionPlan PreemptionCost(const VictimView& victim, const PreemptionRates& rates,
                              std::optional<Preemption> forced) {
  const double recompute = SecondsFor(victim.tokens, rates.prompt_tokens_per_second);
  const double swap = SecondsFor(victim.swap_bytes, rates.swap_out_bytes_per_second) +
                      SecondsFor(victim.swap_bytes, rates.swap_in_bytes_per_second);
  const bool may_swap = victim.swap_has_room && forced != Preemption::kRecompute;
  if (may_swap && (forced == Preemption::kSwap || swap < recompute))
    return {.kind = Preemption::kSwap, .seconds = swap};
  return {.kind = Preemption::kRecompute, .seconds = recompute};
}

std::optional<Victim> ChooseVictim(std::span<const VictimView> candidates, const PreemptionRates& rates,
                                   std::optional<Preemption> forced) {
  const auto price = [&](const VictimView& view, const PreemptionPlan& plan) {
    return plan.seconds / static_cast<double>(view.frees_blocks);
  };
  double least = kUnknown;
  for (const VictimView& view : candidates) {
    if (view.frees_blocks <= 0) continue;
    least = std::min(least, price(view, PreemptionCost(view, rates, forced)));
  }
  std::optional<Victim> best;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const VictimView& view = candidates[i];
    if (view.frees_blocks <= 0) continue;
    const PreemptionPlan plan = PreemptionCost(view, rates, forced);
    if (price(view, plan) > least * kAsGood) continue;
    if (!best || view.arrival > candidates[best->index].arrival) best = Victim{.index = i, .plan = plan};
  }
  return best;
}

}  // namespace baton::engine
