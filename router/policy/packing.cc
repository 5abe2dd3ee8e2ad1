#include "router/policy/packing.h"

#include <algorithm>
#include <compare>
#include <tuple>

namespace baton::router {
namespace {

/// The largest of prediction over limit, of what the machine's role does.
double LoadOf(const PackCandidate& candidate, const PackLimits& limits) {
  double load = 0;
  if (candidate.role != MachineRole::kToken) load = candidate.ttft_s / limits.ttft_s;
  if (candidate.role != MachineRole::kPrompt) load = std::max(load, candidate.tbt_s / limits.tbt_s);
  return load;
}

/// Where a machine stands in the order; the least is taken.
struct Rank {
  int tier = std::numeric_limits<int>::max();
  double by = 0;  // price where there is room, load where there is none
  double price = 0;
  MachineIndex machine = kNoMachine;
  friend auto operator<=>(const Rank&, const Rank&) = default;
};

Rank RankOf(const PackCandidate& candidate, double load, const PackLimits& limits) {
  if (load <= limits.fill) {
    return {candidate.spare ? 2 : 0, candidate.price, candidate.price, candidate.machine};
  }
  return {!candidate.spare && load <= limits.spill ? 1 : 3, load, candidate.price, candidate.machine};
}

/// What is best so far of one role.
struct Best {
  Rank rank;
  double load = 0;

  [[nodiscard]] bool Found() const { return rank.machine != kNoMachine; }
  void Offer(const PackCandidate& candidate, const PackLimits& limits) {
    const double offered = LoadOf(candidate, limits);
    const Rank other = RankOf(candidate, offered, limits);
    if (other < rank) *this = {other, offered};
  }
};

/// What machines take together that are awake, or waking as well.
struct Room {
  double answers = 0;
  double requests_per_s = 0;

  void Add(const PowerMachine& machine) {
    answers += machine.answers;
    requests_per_s += machine.requests_per_s;
  }
};

}  // namespace

PackPlacement PlaceByPacking(std::int64_t kv_tokens, std::span<const PackCandidate> candidates,
                             const PackLimits& limits) {
  Best whole;
  Best prompt;
  Best token;
  bool decodes = false;
  bool computes = false;
  for (const PackCandidate& candidate : candidates) {
    decodes |= candidate.role != MachineRole::kPrompt;
    computes |= candidate.role != MachineRole::kToken;
    if (candidate.role == MachineRole::kPrompt) {
      prompt.Offer(candidate, limits);
    } else if (candidate.free_tokens >= kv_tokens) {
      (candidate.role == MachineRole::kWhole ? whole : token).Offer(candidate, limits);
    }
  }
  if (!decodes || !computes) return {.pair = {}, .refusal = CostRefusal::kNoMachines};
  const bool split = prompt.Found() && token.Found();
  if (!split && !whole.Found()) return {.pair = {}, .refusal = CostRefusal::kMemory};
  Best pair{{std::max(prompt.rank.tier, token.rank.tier), 0, prompt.rank.price + token.rank.price,
             prompt.rank.machine},
            std::max(prompt.load, token.load)};
  pair.rank.by = pair.load <= limits.fill ? pair.rank.price : pair.load;
  const bool apart = split && (!whole.Found() || pair.rank < whole.rank);
  const double load = apart ? pair.load : whole.load;
  if (load > 1 && !limits.best_effort) {
    const bool late = apart && prompt.load > 1;
    return {.pair = {}, .refusal = late ? CostRefusal::kTtft : CostRefusal::kTbt, .load = load};
  }
  const MachinePair chosen = apart ? MachinePair{prompt.rank.machine, token.rank.machine}
                                   : MachinePair{whole.rank.machine, whole.rank.machine};
  return {.pair = chosen, .refusal = std::nullopt, .load = load};
}

double MixedShare(const SharedSteps& steps) {
  return (steps.sequences * steps.pieces + steps.queued_pieces) / std::max(1.0, steps.answer_tokens);
}

double InterruptedTbt(const SharedSteps& steps) {
  const double share = MixedShare(steps);
  // Past 1 there is a backlog, and the answer's tokens wait for ever more prompts.
  if (share > 1) return steps.mixed_s * share;
  return steps.step_s + share * std::max(0.0, steps.mixed_s - steps.step_s);
}

double PricePerRequest(double dollars_per_hour, double watts, double requests_per_s,
                       const CostWeights& weights) {
  constexpr double kSecondsPerHour = 3600;
  const double per_second =
      weights.per_machine_dollar * dollars_per_hour / kSecondsPerHour + weights.per_joule * watts;
  return requests_per_s > 0 ? per_second / requests_per_s : std::numeric_limits<double>::infinity();
}

MachineIndex ChooseToWake(std::span<const PowerMachine> machines, const FleetDemand& demand,
                          const PowerRule& rule) {
  Room room;
  for (const PowerMachine& machine : machines) {
    if (machine.state != PowerState::kParked) room.Add(machine);
  }
  const bool answers = demand.answers > rule.wake_at * room.answers;
  const bool requests = demand.requests_per_s > rule.wake_at * room.requests_per_s;
  const PowerMachine* best = nullptr;
  for (const PowerMachine& machine : machines) {
    const bool helps = (answers && machine.answers > 0) || (requests && machine.requests_per_s > 0);
    if (machine.state != PowerState::kParked || !helps) continue;
    if (best == nullptr ||
        std::tuple(machine.price, machine.machine) < std::tuple(best->price, best->machine)) {
      best = &machine;
    }
  }
  return best == nullptr ? kNoMachine : best->machine;
}

std::vector<MachineIndex> SpareMachines(std::span<const PowerMachine> machines, const FleetDemand& demand,
                                        const PowerRule& rule) {
  std::vector<const PowerMachine*> awake;
  for (const PowerMachine& machine : machines) {
    if (machine.state == PowerState::kAwake) awake.push_back(&machine);
  }
  std::sort(awake.begin(), awake.end(), [](const PowerMachine* a, const PowerMachine* b) {
    return std::tuple(a->price, a->machine) < std::tuple(b->price, b->machine);
  });
  Room room;
  std::vector<MachineIndex> spare;
  for (const PowerMachine* machine : awake) {
    const bool answers = demand.answers > rule.park_at * room.answers || room.answers == 0;
    const bool requests =
        demand.requests_per_s > rule.park_at * room.requests_per_s || room.requests_per_s == 0;
    if ((answers && machine->answers > 0) || (requests && machine->requests_per_s > 0)) {
      room.Add(*machine);
    } else {
      spare.push_back(machine->machine);
    }
  }
  return spare;
}

bool MayPark(MachineIndex machine, std::span<const PowerMachine> machines, const FleetDemand& demand,
             const PowerRule& rule) {
  Room room;
  bool holds_answers = false;
  bool takes_requests = false;
  for (const PowerMachine& other : machines) {
    if (other.machine == machine) {
      holds_answers = other.answers > 0;
      takes_requests = other.requests_per_s > 0;
    } else if (other.state == PowerState::kAwake) {
      room.Add(other);
    }
  }
  const auto spare = [&](bool does, double wanted, double left) {
    return !does || (left > 0 && wanted <= rule.park_at * left);
  };
  return spare(holds_answers, demand.answers, room.answers) &&
         spare(takes_requests, demand.requests_per_s, room.requests_per_s);
}

}  // namespace baton::router
