#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/catalogue.h"
#include "common/hardware/perf_model.h"
#include "router/policy/cost.h"
#include "simulator/fleet.h"
#include "simulator/workload.h"

/// One simulated run: a workload through a fleet.
namespace baton::simulator {

/// kNative: Baton as it is built, on the calibrated models. kSplitwise: the reference simulator of the paper
/// exactly, its own batching and performance table included; only placement is shared code.
enum class Mode { kNative, kSplitwise };

/// Something that befalls a machine in mode kNative. A machine that fails loses its KV, and what ran there
/// begins again elsewhere; one that drains ends its work and gets no more, its answers move away if they can.
struct MachineEvent {
  enum class Kind { kFail, kDrain, kReturn };
  double time_s = 0;
  std::int32_t machine = 0;  // index into RunResult::machines
  Kind kind = Kind::kFail;
};

/// What one request is to keep; 0: none.
struct RequestLimits {
  double ttft_s = 0;
  double tbt_s = 0;
};

/// How Baton's workers are set up in mode kNative.
struct NativeSettings {
  std::int64_t prefill_batch_tokens = 2048;  // of one step; past it throughput falls (Splitwise, 3.4)
  std::int64_t mixed_batch_tokens = 1024;    // where decodes run beside the prompts
  std::int64_t mixed_chunk_tokens = 512;     // of one prompt in such a step
  std::int64_t batch_sequences = 256;
  std::int64_t block_tokens = 16;
  double memory_share = 0.9;            // of the devices' memory, for weights and KV
  std::int64_t layerwise_tokens = 512;  // shorter prompts are sent when they are whole (Splitwise, 4.3)
  bool prefix_sharing = true;
  // Of policies "cost" and "pack": objectives of a request with so many prompt tokens (empty: none), whether
  // one that will miss them is refused at arrival, and the share of them at which "pack" calls a machine
  // full.
  std::function<RequestLimits(std::int64_t)> limits;
  bool reject_early = false;
  double fill = 0.95;
  router::CostWeights prices;  // by which "cost" and "pack" weigh a machine's time and its joules
  /// Under every policy a machine without work for so long is powered down, and one is woken before the
  /// others are full (router/policy/packing.h). 0: all stay on.
  double park_after_s = 0;
  double migrate_every_s = 1;  // 0: answers never move
};

/// Names are those of the command line: docs/POLICY.md.
struct RunOptions {
  Mode mode = Mode::kNative;
  std::string model;                  // of the catalogue
  std::string policy = "mixed-pool";  // random, round-robin, token-jsq, mixed-pool, cost, pack, ...
  hardware::PerfKind step_times = hardware::PerfKind::kBest;  // kNative; kSplitwise has tables of its own
  std::uint64_t seed = 0;
  bool keep_timelines = false;  // of machines, for plots and the Perfetto trace
  NativeSettings native;
  std::vector<MachineEvent> events;  // kNative, in any order
  /// Of policy mixed-pool: a machine that has been lent for so long changes its home. 0: never.
  double repurpose_after_s = 0;
  /// Called now and then, also while the last requests run, with the share of requests that have ended; false
  /// ends the run, which then holds what it has.
  std::function<bool(double)> progress;
};

enum class RequestEnd { kDone, kRefused, kFailed, kUnfinished };

/// Times in seconds. TTFT counts from arrival; TBT is the mean time between this request's tokens.
struct RequestOutcome {
  std::int64_t request = 0;  // index into the workload
  RequestEnd end = RequestEnd::kUnfinished;
  double queue_s = 0;  // arrival to the start of its prompt
  double ttft_s = 0;
  double tbt_s = 0;  // kSplitwise: (response - ttft) / output tokens, as the reference has it
  double response_s = 0;
  double second_token_s = 0;  // from the prompt's end to the first decode step: transfer and waiting
  double transfer_s = 0;
  std::int32_t prefill_machine = -1;  // index into RunResult::machines
  std::int32_t decode_machine = -1;
  std::int32_t preemptions = 0;
  std::int32_t migrations = 0;
  std::int32_t restarts = 0;  // after failures
  std::int64_t reused_tokens = 0;
};

/// One piece of a machine's time in which nothing changed.
struct TimelineSlice {
  double start_s = 0;
  double end_s = 0;
  std::int32_t prompts = 0;
  std::int32_t prompt_tokens = 0;
  std::int32_t decodes = 0;
  double watts = 0;
};

struct MachineUse {
  std::string name;  // "prefill-3"
  std::int32_t pool = 0;
  double busy_s = 0;
  double energy_j = 0;
  double powered_s = 0;  // of the run's span; waking is being powered
  std::int32_t wakes = 0;
  double peak_kv_share = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;
  std::vector<TimelineSlice> timeline;  // where asked for
};

struct RunResult {
  std::vector<RequestOutcome> requests;  // in order of the workload
  std::vector<MachineUse> machines;
  double span_s = 0;  // from the first arrival to the last end
  double last_arrival_s = 0;
  bool backlog_grows =
      false;  // unstable: more waits at the end of arrivals than at their middle, see stats.h
  bool interrupted = false;
  double extrapolated_share = 0;  // of step times that lie outside what the model was fitted on
};

[[nodiscard]] std::string_view NameOf(PoolRole role);

/// Of a run's machines, in the order of `RunResult::machines`: by role and number, pool after pool, each
/// instance counted. The errors are those of `Run` about the fleet.
[[nodiscard]] absl::StatusOr<std::vector<std::string>> MachineNames(const hardware::Catalogue& catalogue,
                                                                    const FleetSpec& fleet);

/// Runs `workload` on `fleet` to its end. Deterministic: equal arguments, equal bits. Errors name the pool,
/// machine, model or policy that the catalogue does not have, or a model that does not fit.
[[nodiscard]] absl::StatusOr<RunResult> Run(const hardware::Catalogue& catalogue, const FleetSpec& fleet,
                                            const Workload& workload, const RunOptions& options);

}  // namespace baton::simulator
