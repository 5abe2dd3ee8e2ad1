#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "router/policy/cost.h"
#include "router/policy/pools.h"

/// Placement that fills few machines, the cheapest first, so that the others have nothing to do and can be
/// powered down; and the rule by which they are, and come back. Predictions come in as values, as in cost.h.
/// docs/POLICY.md has the reasons.
namespace baton::router {

/// A machine that takes requests now, as it would be with this one.
struct PackCandidate {
  MachineIndex machine = kNoMachine;
  MachineRole role = MachineRole::kWhole;
  double price = 0;              // PricePerRequest when it is full: the order in which machines are filled
  double ttft_s = 0;             // of this request, its prompt computed here; not of token machines
  double tbt_s = 0;              // of the answers here, this one among them; not of prompt machines
  std::int64_t free_tokens = 0;  // KV memory less what is promised to requests that are on their way
  bool spare = false;            // by SpareMachines: to be left alone
};

struct PackLimits {
  double ttft_s = std::numeric_limits<double>::infinity();
  double tbt_s = std::numeric_limits<double>::infinity();
  /// A machine is full where a prediction passes this share of its limit: predictions are means, and single
  /// requests lie above them.
  double fill = 0.95;
  /// Machines that the fleet needs give way to a spare one past this share. Between the two they queue for a
  /// moment, so that a burst of a second does not keep a machine awake for a minute.
  double spill = 1.2;
  /// Where nothing meets the limits themselves: place it least late (true), or refuse it.
  bool best_effort = true;
};

struct PackPlacement {
  MachinePair pair;  // {kNoMachine, kNoMachine} where it was refused
  std::optional<CostRefusal> refusal;
  double load = 0;  // of the pair: the largest of prediction over limit
};

/// First fit in order of price: the first machine that is not full, or the first prompt machine and the first
/// token machine, whichever is cheaper. Where all are full that the fleet needs, the least loaded of them up
/// to `spill`, then the first spare one that is not full, then the least loaded of all. `kv_tokens`: to be
/// reserved where it decodes. Pure; takes time in the number of candidates.
[[nodiscard]] PackPlacement PlaceByPacking(std::int64_t kv_tokens, std::span<const PackCandidate> candidates,
                                           const PackLimits& limits);

/// Steps of a machine that decodes `sequences` answers: alone, and with a piece of a prompt in them.
struct SharedSteps {
  double sequences = 0;
  double step_s = 0;
  double mixed_s = 0;
  double pieces = 0;         // of a prompt, on average: mixed steps that it takes
  double queued_pieces = 0;  // of prompts that wait here now
  double answer_tokens = 1;  // of an answer, on average
};
/// The share of steps that hold a piece of a prompt, while every answer that ends makes room for another
/// prompt: sequences / answer_tokens prompts a step. At 1 prompts take all steps, above 1 they pile up.
[[nodiscard]] double MixedShare(const SharedSteps& steps);
/// Time between tokens that prompts interrupt.
[[nodiscard]] double InterruptedTbt(const SharedSteps& steps);

/// Dollars that a machine takes for a request, which it serves `requests_per_s` of.
[[nodiscard]] double PricePerRequest(double dollars_per_hour, double watts, double requests_per_s,
                                     const CostWeights& weights);

enum class PowerState : std::uint8_t { kAwake, kWaking, kParked };

/// What a machine could take at most. A prompt machine holds no answers, a token machine begins no requests.
struct PowerMachine {
  MachineIndex machine = kNoMachine;
  PowerState state = PowerState::kAwake;
  double price = 0;
  double answers = 0;         // at a time
  double requests_per_s = 0;  // of which it computes the prompts
};

/// What the fleet has to do, smoothed over some tens of seconds.
struct FleetDemand {
  double answers = 0;
  double requests_per_s = 0;
};

/// Between the two shares nothing happens: a machine that was just powered down is not missed at once.
struct PowerRule {
  double wake_at = 0.95;  // of what those take that are awake or waking
  double park_at = 0.8;   // of what the others could take
};

/// The cheapest parked machine that adds what is short; kNoMachine where nothing is, or none is left.
[[nodiscard]] MachineIndex ChooseToWake(std::span<const PowerMachine> machines, const FleetDemand& demand,
                                        const PowerRule& rule);
/// Machines that are awake although cheaper ones do: what remains of the fleet has room without them.
[[nodiscard]] std::vector<MachineIndex> SpareMachines(std::span<const PowerMachine> machines,
                                                      const FleetDemand& demand, const PowerRule& rule);
/// Whether `machine`, which is awake and idle, may be powered down: the others that are awake have room, and
/// there is one left of every kind of work.
[[nodiscard]] bool MayPark(MachineIndex machine, std::span<const PowerMachine> machines,
                           const FleetDemand& demand, const PowerRule& rule);

}  // namespace baton::router
