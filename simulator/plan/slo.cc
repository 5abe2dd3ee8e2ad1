#include "simulator/plan/slo.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/error.h"
#include "common/base/units.h"

namespace baton::simulator {
namespace {

constexpr double kLost = std::numeric_limits<double>::infinity();
constexpr SloTable kPaper{{{2, 3, 6}, {1.25, 1.5, 5}, {1.25, 1.5, 5}}};

/// Quantile of unsorted values, which it reorders; linear between ranks; infinity where it touches a lost
/// one.
double QuantileIn(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const double share = at - std::floor(at);
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(low);
  std::nth_element(values.begin(), nth, values.end());
  const double first = *nth;
  if (share == 0 || low + 1 == values.size()) return first;
  const double second = *std::min_element(nth + 1, values.end());
  return std::isinf(second) ? second : first + share * (second - first);
}

absl::Status ReadLimit(std::string_view part, Slo& slo) {
  const std::size_t equals = part.find('=');
  const std::string_view name = part.substr(0, equals);
  for (std::size_t metric = 0; metric < 3 && equals != std::string_view::npos; ++metric) {
    for (std::size_t quantile = 0; quantile < 3; ++quantile) {
      if (name != fmt::format("{}_{}", kMetricNames[metric], kQuantileNames[quantile])) continue;
      const std::string_view value = part.substr(equals + 1);
      if (value.ends_with('x')) {
        double factor = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), factor);
        if (error != std::errc() || end != value.data() + value.size() - 1 || !(factor > 0 && factor < 1e9)) {
          return Error(kInvalidArgument, "slo: {}: want a factor such as 3x", part);
        }
        slo.slowdown[metric][quantile] = factor;
        return absl::OkStatus();
      }
      const auto limit = ParseDuration(value);
      if (!limit.ok() || *limit <= Duration::zero()) {
        return Error(kInvalidArgument, "slo: {}: want a time such as 500ms or a factor such as 3x", part);
      }
      slo.seconds[metric][quantile] = Seconds(*limit);
      return absl::OkStatus();
    }
  }
  return Error(kInvalidArgument,
               "slo: '{}': want 'paper' or limits such as ttft_p99=500ms, tbt_p50=40ms, e2e_p90=3x", part);
}

void CheckLimit(double measured, double limit, std::size_t metric, std::size_t quantile,
                SloVerdict& verdict) {
  if (limit <= 0) return;
  const double ratio = measured / limit;
  if (!(ratio < 1)) verdict.met = false;
  if (ratio > verdict.tightest) {
    verdict.tightest = ratio;
    verdict.binding = fmt::format("{}_{}", kMetricNames[metric], kQuantileNames[quantile]);
  }
}

/// Values of one metric, in seconds and as slowdown, and whether each request keeps its P99 limits.
struct Values {
  std::array<std::vector<double>, 3> seconds;
  std::array<std::vector<double>, 3> slowdown;
  std::int64_t within = 0;
};

void AddRequest(const WorkloadRequest& request, const RequestOutcome& outcome, const Slo& slo,
                const AloneModel& alone, Values& values, SloVerdict& verdict) {
  ++verdict.counted;
  const bool done = outcome.end == RequestEnd::kDone;
  if (!done) ++verdict.lost;
  const std::array<double, 3> measured{outcome.ttft_s, outcome.tbt_s, outcome.response_s};
  std::array<double, 3> base{};
  if (alone) {
    const AloneTimes times = alone(request);
    base = {times.ttft_s, times.tbt_s, times.e2e_s};
  }
  bool within = done;
  for (std::size_t metric = 0; metric < 3; ++metric) {
    // An answer of one token has no time between tokens.
    if (metric == static_cast<std::size_t>(Metric::kTbt) && request.output_tokens < 2 && done) continue;
    const double seconds = done ? measured[metric] : kLost;
    values.seconds[metric].push_back(seconds);
    if (slo.seconds[metric][2] > 0 && seconds >= slo.seconds[metric][2]) within = false;
    if (!alone || base[metric] <= 0) continue;
    const double slowdown = seconds / base[metric];
    values.slowdown[metric].push_back(slowdown);
    if (slo.slowdown[metric][2] > 0 && slowdown >= slo.slowdown[metric][2]) within = false;
  }
  if (within) ++values.within;
}

}  // namespace

bool Slo::Empty() const {
  return seconds == SloTable{} && slowdown == SloTable{};
}

Slo PaperSlo() {
  return {.seconds = {}, .slowdown = kPaper};
}

absl::StatusOr<Slo> ParseSlo(std::string_view text) {
  Slo slo;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    if (part == "paper") {
      slo.slowdown = kPaper;
    } else {
      BATON_RETURN_IF_ERROR(ReadLimit(part, slo));
    }
    if (comma == std::string_view::npos) return slo;
    text.remove_prefix(comma + 1);
  }
}

SloVerdict Judge(const Workload& workload, const RunResult& result, const Slo& slo, const AloneModel& alone,
                 double warm_up_s) {
  SloVerdict verdict;
  Values values;
  for (const RequestOutcome& outcome : result.requests) {
    const WorkloadRequest& request = workload.requests[static_cast<std::size_t>(outcome.request)];
    if (request.arrival_s < warm_up_s) continue;
    if (result.interrupted && outcome.end == RequestEnd::kUnfinished) continue;
    AddRequest(request, outcome, slo, alone, values, verdict);
  }
  for (std::size_t metric = 0; metric < 3; ++metric) {
    for (std::size_t quantile = 0; quantile < 3; ++quantile) {
      verdict.seconds[metric][quantile] = QuantileIn(values.seconds[metric], kSloQuantiles[quantile]);
      verdict.slowdown[metric][quantile] = QuantileIn(values.slowdown[metric], kSloQuantiles[quantile]);
      CheckLimit(verdict.seconds[metric][quantile], slo.seconds[metric][quantile], metric, quantile, verdict);
      CheckLimit(verdict.slowdown[metric][quantile], slo.slowdown[metric][quantile], metric, quantile,
                 verdict);
    }
  }
  if (verdict.counted == 0 && !slo.Empty()) verdict.met = false;  // of no request nothing is met
  if (verdict.counted > 0) {
    verdict.attainment = static_cast<double>(values.within) / static_cast<double>(verdict.counted);
  }
  return verdict;
}

}  // namespace baton::simulator
