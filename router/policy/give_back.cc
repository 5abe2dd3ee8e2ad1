#include "router/policy/give_back.h"

#include <tuple>

#include "router/policy/placement.h"

namespace baton::router {

using cluster::Phase;
using cluster::WorkerSnapshot;

std::optional<WorkerId> ChooseTaker(const cluster::ClusterSnapshot& snapshot, const EndedAnswer& answer,
                                    const GiveBackLimits& limits,
                                    const std::map<WorkerId, std::int64_t>& under_way) {
  const auto busy = [&](WorkerId id) {
    const auto at = under_way.find(id);
    return at != under_way.end() && at->second >= limits.at_once;
  };
  const WorkerSnapshot* from = snapshot.Find(answer.at);
  if (!limits.enabled || from == nullptr || !from->ready || !from->about.kv_returns ||
      from->kv_blocks_free == 0 || busy(answer.at)) {
    return std::nullopt;
  }
  const WorkerSnapshot* best = nullptr;
  std::int64_t best_held = 0;
  for (const WorkerSnapshot& to : snapshot.workers) {
    if (to.about.phase != Phase::kPrefill || !to.ready || !to.about.kv_returns || busy(to.about.id)) continue;
    if (!Linked(to, *from) || to.about.numerics_class != from->about.numerics_class ||
        to.about.block_tokens != from->about.block_tokens) {
      continue;
    }
    std::int64_t held = 0;
    for (const HeldPrefix& prefix : answer.held) {
      if (prefix.worker == to.about.id) held = prefix.blocks * kPrefixBlockTokens / to.about.block_tokens;
    }
    const std::int64_t blocks = answer.positions / to.about.block_tokens - held;
    if (blocks <= 0 || blocks * to.about.block_tokens < limits.tokens_min) continue;
    if (static_cast<double>(blocks) > limits.share * static_cast<double>(to.kv_blocks_free)) continue;
    if (best == nullptr || std::tie(held, to.kv_blocks_free) > std::tie(best_held, best->kv_blocks_free)) {
      best = &to;
      best_held = held;
    }
  }
  return best != nullptr ? std::optional(best->about.id) : std::nullopt;
}

}  // namespace baton::router
