#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "engine/executor.h"
#include "engine/model/model_config.h"

namespace baton::engine {

/// Parts of `total` in the ratio of `weights`, none below 0 and not all 0, that add up to it exactly.
[[nodiscard]] std::vector<std::int64_t> SplitExactly(std::int64_t total,
                                                     std::span<const std::int64_t> weights);

/// What a step moves through the machine, in elements: the weights once, and the KV of each sequence.
struct StepCost {
  std::int64_t weights = 0;      // that a token passes
  std::int64_t kv_position = 0;  // keys and values of a position, all layers
};
[[nodiscard]] StepCost CostOf(const ModelConfig& model);

/// How much of a step of `duration` is whose, in its order, adding up to it: the weights are shared by the
/// tokens that pass them, each sequence's KV is its own.
[[nodiscard]] std::vector<std::int64_t> ShareStep(std::span<const StepPart> parts, const StepCost& cost,
                                                  Duration duration);

/// Microjoules between two readings; the three add up to what was measured.
struct EnergyWindow {
  std::int64_t prompt_uj = 0;  // of steps: tokens of prompts, computed anew ones too
  std::int64_t answer_uj = 0;
  std::int64_t idle_uj = 0;
  Duration busy{};                     // within steps
  std::vector<std::int64_t> ended_uj;  // of each request that has ended, all its energy here
};

/// Whose the measured energy was. Between two readings power counts as constant within steps, and as idle
/// power outside of them: the least mean power that a time without steps has had, 0 until there was one. What
/// steps are left with goes to requests by their shares of the steps' time. Of whoever owns it.
class EnergyLedger {
 public:
  explicit EnergyLedger(const StepCost& cost) : cost_(cost) {}
  void OnStep(const StepReport& step);
  /// All its steps have been told.
  void OnEnded(RequestKey key);
  /// That steps have been told since the last reading.
  [[nodiscard]] bool HasSteps() const { return busy_ > Duration{}; }
  /// A reading: so much energy in `length` since the last one.
  EnergyWindow Close(std::int64_t energy_uj, Duration length);
  [[nodiscard]] double IdleWatts() const { return idle_watts_; }

 private:
  struct Account {
    std::int64_t uj = 0;
    std::int64_t prompt_ns = 0;  // since the last reading
    std::int64_t answer_ns = 0;
    bool ended = false;
  };

  const StepCost cost_;
  absl::flat_hash_map<RequestKey, Account> accounts_;
  Duration busy_{};
  double idle_watts_ = 0;
};

}  // namespace baton::engine
