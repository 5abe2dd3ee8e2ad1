#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/hardware/catalogue.h"
#include "simulator/plan/slo.h"
#include "simulator/run.h"

/// What a run amounts to: latencies, throughput, money, power.
namespace baton::simulator {

/// Prices of a whole fleet. Watts are what a rack reserves: rated power, less what power caps take off.
struct FleetPrice {
  double dollars_per_hour = 0;
  double watts = 0;
  int machines = 0;
  double cost_weight = 0;            // of the paper's tables
  double power_weight = 0;           // of the paper's tables
  std::vector<double> pool_dollars;  // an hour, of all machines of each pool
  std::vector<int> pool_machines;
};
/// Errors name a machine or device that the catalogue lacks, and a machine without a price.
[[nodiscard]] absl::StatusOr<FleetPrice> PriceOf(const hardware::Catalogue& catalogue,
                                                 const FleetSpec& fleet);

/// "prefill=25xdgx-h100,decode=15xdgx-a100"; a cap follows as "@350w", a tensor-parallel degree as "/4":
/// "decode=3xdgx-h100/4@350w". Several pools of one role are allowed.
[[nodiscard]] absl::StatusOr<FleetSpec> ParseFleet(std::string_view text);
[[nodiscard]] std::string FormatFleet(const FleetSpec& fleet);

struct Figures {
  std::int64_t requests = 0;
  std::int64_t done = 0;
  std::int64_t refused = 0;
  std::int64_t failed = 0;
  std::int64_t unfinished = 0;
  double offered_rate = 0;         // requests/s over the arrivals
  double completed_rate = 0;       // over the run after its warm-up, its draining included
  double output_tokens_per_s = 0;  // over the whole run
  std::array<double, 3> mean_s{};  // TTFT, TBT, E2E of those done
  double queue_mean_s = 0;
  double transfer_mean_s = 0;
  double second_token_mean_s = 0;
  double busy_share = 0;  // of machine time
  double energy_j = 0;
  double mean_watts = 0;
  double joules_per_token = 0;     // of output
  double dollars_per_million = 0;  // output tokens, for the time that machines were powered
  double energy_dollars_per_hour = 0;
  double machines_powered = 0;  // mean over the run
  std::int64_t wakes = 0;
  double reused_share = 0;  // of prompt tokens
  std::int64_t preemptions = 0;
  std::int64_t migrations = 0;
  std::int64_t restarts = 0;
  double extrapolated_share = 0;
  bool backlog_grows = false;
  bool interrupted = false;
  FleetPrice price;
  SloVerdict verdict;
};

[[nodiscard]] Figures FiguresOf(const FleetPrice& price, const Workload& workload, const RunResult& result,
                                const Slo& slo, const AloneModel& alone, double warm_up_s = 0);

/// Where the time of requests goes, in the mean: what `explain` draws. Sums to the mean response time.
struct Waterfall {
  double queue_s = 0;
  double prefill_s = 0;
  double transfer_s = 0;
  double decode_wait_s = 0;
  double decode_s = 0;
};
/// Over requests that are done.
[[nodiscard]] Waterfall WaterfallOf(const RunResult& result);

/// Mean and half width of its 95 % confidence interval, by Student's t; the width is 0 for one value.
struct Interval {
  double mean = 0;
  double half_width = 0;
};
[[nodiscard]] Interval IntervalOf(const std::vector<double>& values);

}  // namespace baton::simulator
