#include "router/policy/migration.h"

#include <algorithm>
#include <limits>

#include "router/policy/placement.h"

namespace baton::router {

double FreenessSeconds(const DecodeLoad& load) {
  if (load.draining) return -std::numeric_limits<double>::infinity();
  const auto sequences = static_cast<double>(std::max<std::int64_t>(load.sequences, 1));
  return static_cast<double>(load.free_tokens - load.wanted_tokens) / sequences * load.step_s;
}

std::vector<MachineMove> PairMigrations(std::span<const DecodeLoad> loads, const MigrationOptions& options) {
  struct Free {
    double seconds = 0;
    MachineIndex machine = kNoMachine;
  };
  std::vector<Free> sources;
  std::vector<Free> destinations;
  for (const DecodeLoad& load : loads) {
    const double seconds = FreenessSeconds(load);
    // A machine that has not made a step yet has all its memory and no step time: it is as free as can be.
    const bool unused = load.sequences == 0 && load.wanted_tokens == 0 && !load.draining;
    if (seconds < options.source_below_s && load.sequences > 0) {
      sources.push_back({seconds, load.machine});
    } else if (unused || seconds > options.destination_above_s) {
      destinations.push_back({unused ? std::numeric_limits<double>::infinity() : seconds, load.machine});
    }
  }
  std::sort(sources.begin(), sources.end(), [](const Free& a, const Free& b) {
    return a.seconds != b.seconds ? a.seconds < b.seconds : a.machine < b.machine;
  });
  std::sort(destinations.begin(), destinations.end(), [](const Free& a, const Free& b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : a.machine < b.machine;
  });
  std::vector<MachineMove> moves;
  for (std::size_t i = 0; i < std::min(sources.size(), destinations.size()); ++i) {
    moves.push_back({sources[i].machine, destinations[i].machine});
  }
  return moves;
}

bool CanMove(const cluster::WorkerSnapshot& from, const cluster::WorkerSnapshot& to,
             const MovableAnswer& answer) {
  if (to.about.id == from.about.id || to.about.phase != cluster::Phase::kDecode || !to.ready) return false;
  if (!Linked(from, to) || from.about.numerics_class != to.about.numerics_class) return false;
  return answer.tokens_max <= to.about.context_tokens &&
         cluster::BlocksFor(answer.tokens_max, to.about.block_tokens) <= to.about.kv_blocks &&
         cluster::BlocksToBegin(to.about, answer.positions, answer.tokens_max) <= to.kv_blocks_free;
}

std::optional<WorkerId> ChooseDestination(const cluster::ClusterSnapshot& snapshot,
                                          const MovableAnswer& answer) {
  const cluster::WorkerSnapshot* from = snapshot.Find(answer.at);
  const cluster::WorkerSnapshot* best = nullptr;
  if (from == nullptr) return std::nullopt;
  for (const cluster::WorkerSnapshot& to : snapshot.workers) {
    if (!CanMove(*from, to, answer)) continue;
    if (best == nullptr || to.placed_tokens < best->placed_tokens) best = &to;
  }
  return best != nullptr ? std::optional(best->about.id) : std::nullopt;
}

}  // namespace baton::router
