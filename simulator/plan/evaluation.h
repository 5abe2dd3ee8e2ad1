#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/catalogue.h"
#include "common/hardware/perf_model.h"
#include "common/hardware/power.h"
#include "simulator/plan/figures.h"
#include "simulator/plan/search.h"
#include "simulator/run.h"

/// Questions to the simulator: what does this fleet do under this load.
namespace baton::simulator {

/// The load at a rate, for a seed. Called from several threads at once.
using LoadMaker = std::function<absl::StatusOr<Workload>(double rate, std::uint64_t seed)>;

/// All that runs of one question have in common.
struct Experiment {
  const hardware::Catalogue* catalogue = nullptr;
  Mode mode = Mode::kNative;
  std::string model;
  std::string policy;  // empty: token-jsq for fleets of mixed pools alone, mixed-pool for others
  hardware::PerfKind step_times = hardware::PerfKind::kBest;  // of mode kNative
  hardware::Tariff tariff;
  Slo slo;
  AloneModel alone;
  double warm_up_s = 0;
  NativeSettings native;  // where its limits are empty, those of `slo` stand for them
  std::vector<std::uint64_t> seeds{0};
  double repurpose_after_s = 0;
  std::vector<MachineEvent> events;  // of one fleet: for runs of it alone
  LoadMaker load;
  std::function<bool()> keep_going;  // false ends runs early; empty: they run to their end
};

/// What one request is to keep so that quantiles meet `slo`: the tightest limit of each metric, slowdowns
/// against `alone`.
[[nodiscard]] std::function<RequestLimits(std::int64_t)> LimitsOf(const Slo& slo, const AloneModel& alone);

/// The request alone on a DGX-A100, by the mode's own step times: what slowdowns are against. An error where
/// the catalogue has no such machine, or, in mode kSplitwise or with kind kTable, no table for the model.
inline constexpr const char* kAloneMachine = "dgx-a100";
[[nodiscard]] absl::StatusOr<AloneModel> MakeAloneModel(const hardware::Catalogue& catalogue, Mode mode,
                                                        const std::string& model,
                                                        hardware::PerfKind kind = hardware::PerfKind::kBest);

/// One run. `result`, where given, gets its outcomes; with `timelines`, those of machines as well.
struct RunWanted {
  std::uint64_t seed = 0;
  bool timelines = false;
  std::function<bool(double)> progress;
  RunResult* result = nullptr;
};
[[nodiscard]] absl::StatusOr<Figures> RunOnce(const Experiment& experiment, const FleetSpec& fleet,
                                              const Workload& workload, const RunWanted& wanted);

/// Feasible where the objectives are met under every seed. Loads are made once for each rate and seed. What
/// misses by half already in the first quarter of a load is not run to its end.
[[nodiscard]] Evaluator MakeEvaluator(const Experiment& experiment);

/// The highest rate at which the fleet meets the objectives, to 1 %; the probe tells what binds just above.
struct HighestRate {
  double rate = 0;
  Probe above;
};
[[nodiscard]] absl::StatusOr<HighestRate> FindHighestRate(const Evaluator& evaluate, const FleetSpec& fleet);

/// Columns for the search, by analysis, of machines such as "dgx-h100", "dgx-h100/4" (GPUs of an instance) or
/// "dgx-h100@350w" (cap of each): prefill as a queue of many servers (Allen-Cunneen), decode as the
/// largest batch whose step keeps the time between tokens and whose KV state fits. Types on which the model
/// does not fit, or that the mode has no step times for, are left out; `skipped` says why.
[[nodiscard]] absl::StatusOr<std::vector<Column>> AnalyseColumns(const Experiment& experiment,
                                                                 const std::vector<std::string>& machines,
                                                                 const Workload& sample, double rate,
                                                                 std::vector<std::string>& skipped);

/// The fewest servers so that a job waits longer than `wait_limit_s` once in a hundred: M/M/c by Erlang's C,
/// with Allen and Cunneen's correction for the variation of gaps and services.
struct QueueSpec {
  double rate = 1;
  double service_s = 1;
  double gap_cv2 = 1;
  double service_cv2 = 1;
  double wait_limit_s = 1;
};
[[nodiscard]] int ServersFor(const QueueSpec& queue);

}  // namespace baton::simulator
