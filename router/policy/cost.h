#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "router/policy/pools.h"

/// Placement by what a request adds to the bill: the cheapest pair of machines of those that are predicted to
/// meet its objectives. Predictions come in as values (common/hardware/perf_model.h makes them), so that
/// nothing here knows of models, clocks or networks. docs/POLICY.md has the sources.
namespace baton::router {

/// What a request is to keep. A prediction counts as met where it is with `sigmas` of its own uncertainty
/// added.
struct CostObjectives {
  double ttft_s = std::numeric_limits<double>::infinity();
  double tbt_s = std::numeric_limits<double>::infinity();
  double sigmas = 1;
  /// That a decode machine's memory is to last after it has taken the request. The simulator asks for none.
  double freeness_min_s = 0;
  /// Where nothing meets them: place it least late (true), or reject it before any work is done.
  bool best_effort = false;
};

/// How a second of a machine and a joule are weighed against each other, in dollars.
struct CostWeights {
  double per_machine_dollar = 1;         // 0: machines are paid for, only energy counts
  double per_joule = 1.2 * 0.1 / 3.6e6;  // $0.10 a kWh, 1.2 of it drawn by the site for 1 of a machine
};

struct CostRequest {
  std::int64_t prompt_tokens = 0;
  double answer_tokens = 0;    // as many as are expected
  std::int64_t kv_tokens = 0;  // that are to be reserved where it decodes
};

/// A machine that could compute the prompt.
struct PrefillCandidate {
  MachineIndex machine = kNoMachine;
  double wait_s = 0;      // until it could begin: its queue, and waking up if it is parked
  double prompt_s = 0;    // what this prompt adds to its work, cached tokens not counted
  double sigma_s = 0;     // of both together
  double watts = 0;       // of the machine while it computes
  double idle_watts = 0;  // that it draws anyway; 0 where it is or could be parked instead
  double dollars_per_hour = 0;
};

/// A machine that could decode, as it is forecast for the moment when the prompt is there.
struct DecodeCandidate {
  MachineIndex machine = kNoMachine;
  double ready_in_s = 0;  // 0, or until a parked machine is awake: beyond the prompt's end it is late
  double sequences = 0;   // without this one
  double step_s = 0;      // without this one; 0 where nothing runs
  double step_with_s = 0;
  double sigma_s = 0;  // of step_with_s
  double watts = 0;    // of the machine in a step without this one
  double watts_with = 0;
  double idle_watts = 0;         // as above
  std::int64_t free_tokens = 0;  // KV memory less what is promised to requests that are on their way
  double dollars_per_hour = 0;
};

/// Dollars and joules that the request adds on one machine, and their weighed sum in dollars.
struct MarginalCost {
  double dollars = 0;
  double joules = 0;
  double weighed = 0;
};
[[nodiscard]] MarginalCost CostOf(const PrefillCandidate& candidate, const CostWeights& weights);
/// Over the whole answer. A sequence that joins others pays for what it slows them, one alone for the
/// machine.
[[nodiscard]] MarginalCost CostOf(const DecodeCandidate& candidate, double answer_tokens,
                                  const CostWeights& weights);

enum class CostRefusal {
  kNoMachines,  // of one kind or the other
  kTtft,        // no prefill machine would be in time
  kTbt,         // no decode machine would be fast enough once the prompt is there
  kMemory,      // none has room, or room for long enough: it may wait and be asked for again
};
/// "no_machines", "ttft", "tbt", "memory".
[[nodiscard]] std::string_view Name(CostRefusal refusal);

struct CostPlacement {
  MachinePair pair;  // {kNoMachine, kNoMachine} where it was refused
  std::optional<CostRefusal> refusal;
  MarginalCost cost;  // both machines'
  double ttft_s = 0;  // predicted
  double tbt_s = 0;
  bool late = false;  // best effort: an objective will not be met
};

/// The cheapest pair that meets the objectives; ties by the earlier, then the faster, then the lower machine.
/// Costs and objectives of the two machines add up separately, so that this takes time in the sum of
/// candidates, not in their product. Pure.
[[nodiscard]] CostPlacement PlaceByCost(const CostRequest& request, std::span<const PrefillCandidate> prefill,
                                        std::span<const DecodeCandidate> decode,
                                        const CostObjectives& objectives, const CostWeights& weights);

/// An answer whose prompt is being computed elsewhere: KV is reserved for it, it decodes from `arrives_in_s`
/// on.
struct InFlight {
  double arrives_in_s = 0;
  std::int64_t context_tokens = 0;
};

struct DecodeNow {
  double sequences = 0;
  double context_tokens = 0;    // of all together
  double step_s = 0;            // of its last step, or what one is expected to take
  double remaining_tokens = 0;  // that a sequence is expected to have before it, on average
  /// Those that are on their way. The simulator does not know when they arrive and counts them as running.
  std::span<const InFlight> in_flight;
};

struct DecodeForecast {
  double sequences = 0;
  double context_tokens = 0;
};
/// What the machine will decode `ahead_s` from now: sequences end at a constant rate, as if their lengths had
/// no memory, those that stay grow, those on their way arrive. A rejection that looks at the load of now lets
/// too many in and then too few (docs/POLICY.md).
[[nodiscard]] DecodeForecast ForecastDecode(const DecodeNow& now, double ahead_s);

}  // namespace baton::router
