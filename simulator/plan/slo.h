#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "simulator/run.h"

/// Latency objectives: limits on quantiles, in seconds or as slowdown against a request that runs alone.
namespace baton::simulator {

enum class Metric { kTtft, kTbt, kE2e };
inline constexpr std::array<std::string_view, 3> kMetricNames{"ttft", "tbt", "e2e"};
inline constexpr std::array<double, 3> kSloQuantiles{0.5, 0.9, 0.99};
inline constexpr std::array<std::string_view, 3> kQuantileNames{"p50", "p90", "p99"};

/// [metric][quantile]
using SloTable = std::array<std::array<double, 3>, 3>;

/// 0: no limit. A limit holds where the measured quantile is below it.
struct Slo {
  SloTable seconds{};
  SloTable slowdown{};

  [[nodiscard]] bool Empty() const;
};

/// The nine slowdowns of Splitwise, Table VI, against the same request alone on a DGX-A100.
[[nodiscard]] Slo PaperSlo();
/// "paper", or limits such as "ttft_p99=500ms,tbt_p50=40ms,e2e_p90=3x"; both: "paper,ttft_p99=2s". The
/// message of an error names the part.
[[nodiscard]] absl::StatusOr<Slo> ParseSlo(std::string_view text);

/// What a request takes that has the reference machine for itself.
struct AloneTimes {
  double ttft_s = 0;
  double tbt_s = 0;
  double e2e_s = 0;
};
using AloneModel = std::function<AloneTimes(const WorkloadRequest&)>;

struct SloVerdict {
  bool met = true;
  SloTable seconds{};     // measured
  SloTable slowdown{};    // measured; 0 without a model of the request alone
  double tightest = 0;    // the largest of measured over limit; 0 without limits
  std::string binding;    // of it: "tbt_p99"
  double attainment = 1;  // share of requests within all P99 limits at once
  std::int64_t counted = 0;
  std::int64_t lost = 0;  // refused, failed or unfinished: above every limit
};

/// Quantiles by linear interpolation, each metric by itself, over requests that arrive from `warm_up_s` on;
/// of a run that was interrupted, over those that had ended.
/// `alone` may be empty where `slo` has no slowdowns.
[[nodiscard]] SloVerdict Judge(const Workload& workload, const RunResult& result, const Slo& slo,
                               const AloneModel& alone, double warm_up_s = 0);

}  // namespace baton::simulator
