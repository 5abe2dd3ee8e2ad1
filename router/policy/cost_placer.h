#pragma once

#include <cstdint>
#include <memory>

#include "router/policy/cost.h"
#include "router/policy/pools.h"

namespace baton::router {

/// What a machine is predicted to do: models of time and power behind plain numbers. Pure and thread-safe.
class MachinePredictor {
 public:
  struct Step {
    double seconds = 0;
    double sigma_s = 0;
    double watts = 0;  // of the whole machine
  };

  virtual ~MachinePredictor() = default;
  /// A prompt alone in a step.
  [[nodiscard]] virtual Step Prompt(MachineIndex machine, std::int64_t tokens) const = 0;
  /// A step of decodes; `context_tokens` of all together.
  [[nodiscard]] virtual Step Decode(MachineIndex machine, double sequences, double context_tokens) const = 0;
  [[nodiscard]] virtual double IdleWatts(MachineIndex machine) const = 0;
  [[nodiscard]] virtual double DollarsPerHour(MachineIndex machine) const = 0;
};

struct CostPlacerOptions {
  CostObjectives objectives;  // best effort always: a placer refuses nobody
  CostWeights weights;
  double answer_tokens = 200;  // that are expected
  /// Whether a machine without work is parked and draws nothing; else it draws its idle power anyway.
  bool parking = true;
};

/// PlaceByCost behind the interface of the other policies: keeps queues, sequences and reservations from what
/// it is told. Where no machine has room the one with the most of it is taken. A decision is linear in the
/// machines. `predictor` must outlive it.
[[nodiscard]] std::unique_ptr<Placer> MakeCostPlacer(const MachinePredictor& predictor,
                                                     const CostPlacerOptions& options);

}  // namespace baton::router
