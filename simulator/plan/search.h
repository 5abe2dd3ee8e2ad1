#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "simulator/fleet.h"

/// Which fleet to buy: a search that simulates little. Candidates come from analysis; what is feasible is
/// only ever said by the evaluator, under the assumption that another machine never hurts.
namespace baton::simulator {

/// kFastest: the smallest of measured over limit within the budget. kMaxRate: the most requests/s within it.
enum class Objective { kCheapest, kLowestPower, kFewestMachines, kFastest, kMaxRate };
[[nodiscard]] absl::StatusOr<Objective> ObjectiveOf(std::string_view name);
[[nodiscard]] std::string_view NameOf(Objective objective);

struct Budget {
  double dollars_per_hour = std::numeric_limits<double>::infinity();
  double watts = std::numeric_limits<double>::infinity();
  double machines = std::numeric_limits<double>::infinity();

  [[nodiscard]] bool Unlimited() const;
};

/// Machines of one type in one role that the search may buy.
struct Column {
  PoolRole role = PoolRole::kMixed;
  std::string machine;
  int tensor_parallel = 0;  // of an instance; 0: all GPUs of the machine
  double gpu_cap_w = 0;
  double capacity = 1;  // requests/s of one under the objectives: a guess, where the search begins
  double dollars_per_hour = 0;
  double watts = 0;
};

/// What one fleet does under one rate.
struct Probe {
  bool feasible = false;
  double tightest = 0;  // measured over limit, the largest
  std::string binding;  // its name: "tbt_p99", or "backlog"
};
/// Called from several threads at once.
using Evaluator = std::function<absl::StatusOr<Probe>(const FleetSpec&, double rate)>;

struct Candidate {
  FleetSpec fleet;
  double dollars_per_hour = 0;
  double watts = 0;
  int machines = 0;
  double rate = 0;
  Probe probe;
};

struct SearchOptions {
  Objective objective = Objective::kCheapest;
  double rate = 0;  // requests/s; for kMaxRate where the search begins
  Budget budget;
  int jobs = 0;  // threads; 0: all processors. The result does not depend on it
  /// Called with the number of evaluations; false ends the search, which returns what it knows.
  std::function<bool(int)> progress;
};

/// The chosen fleet with one machine less of a pool.
struct Neighbour {
  std::string pool;  // "25 x dgx-h100 prefill"
  Candidate candidate;
};

struct Recommendation {
  std::optional<Candidate> best;
  std::optional<Candidate> runner_up;  // best of another pair of machine types
  std::vector<Candidate> designs;      // best of each pair of machine types that was looked at, best first
  std::vector<Neighbour> one_less;
  std::optional<Candidate> spare;  // cheapest one that holds after the loss of any machine
  double headroom = 0;             // the share by which the rate may grow, 0.12; at most 1
  int evaluations = 0;
  bool interrupted = false;
};

/// The best fleet of one prefill and one decode type, or of one mixed type, exactly under the assumption
/// above, up to kSearchedTimes (pair_search.h) the machines that capacities ask for; then mixtures of types
/// inside a role, from exact covers, where they are better. Errors are the evaluator's, or "needs a budget".
[[nodiscard]] absl::StatusOr<Recommendation> Recommend(const std::vector<Column>& columns,
                                                       const Evaluator& evaluate,
                                                       const SearchOptions& options);

}  // namespace baton::simulator
