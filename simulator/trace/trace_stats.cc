#include "simulator/trace/trace_stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <absl/container/flat_hash_set.h>

#include "simulator/stats.h"

namespace baton::simulator {
namespace {

constexpr std::int64_t kLongPrompt = 2048;

struct Moments {
  double mean = 0;
  double variance = 0;  // of the population
};

Moments MomentsOf(const std::vector<double>& values) {
  if (values.empty()) return {};
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return {.mean = mean, .variance = sum / count};
}

LengthStats LengthsOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {.least = static_cast<std::int64_t>(values.front()),
          .mean = MomentsOf(values).mean,
          .p50 = SortedQuantile(values, 0.5),
          .p90 = SortedQuantile(values, 0.9),
          .p99 = SortedQuantile(values, 0.99),
          .most = static_cast<std::int64_t>(values.back())};
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const Moments ma = MomentsOf(a);
  const Moments mb = MomentsOf(b);
  if (ma.variance <= 0 || mb.variance <= 0) return 0;
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - ma.mean) * (b[i] - mb.mean);
  return sum / static_cast<double>(a.size()) / std::sqrt(ma.variance * mb.variance);
}

/// Ranks from 0; equal values share their mean rank.
std::vector<double> Ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (std::size_t k = i; k < end; ++k) ranks[order[k]] = static_cast<double>(i + end - 1) / 2;
    i = end;
  }
  return ranks;
}

/// Arrivals in each whole window of `length_s`; the last, cut one is left out unless it is the only one.
std::vector<double> Windows(const Workload& workload, double length_s) {
  const double first = workload.requests.front().arrival_s;
  std::vector<double> counts;
  double end = std::floor(first / length_s) * length_s;
  for (const WorkloadRequest& request : workload.requests) {
    while (counts.empty() || request.arrival_s >= end) {
      // A gap of years in a file of two lines must not fill memory: only the counts' variance needs the
      // zeros.
      if (counts.size() > 10'000'000) return counts;
      counts.push_back(0);
      end += length_s;
    }
    ++counts.back();
  }
  return counts;
}

void ArrivalStats(const Workload& workload, TraceStats& stats) {
  std::vector<double> gaps;
  for (std::size_t i = 1; i < workload.requests.size(); ++i) {
    gaps.push_back(workload.requests[i].arrival_s - workload.requests[i - 1].arrival_s);
  }
  const Moments moments = MomentsOf(gaps);
  if (moments.mean > 0) stats.gap_cv = std::sqrt(moments.variance) / moments.mean;
  if (!gaps.empty()) stats.gap_longest_s = *std::max_element(gaps.begin(), gaps.end());
  const std::vector<double> seconds = Windows(workload, 1);
  stats.second_most = static_cast<std::int64_t>(*std::max_element(seconds.begin(), seconds.end()));
  std::vector<double> minutes = Windows(workload, 60);
  if (minutes.size() > 1) minutes.pop_back();
  const Moments minute = MomentsOf(minutes);
  if (minute.mean > 0) stats.dispersion_60s = minute.variance / minute.mean;
}

}  // namespace

TraceStats StatsOf(const Workload& workload) {
  TraceStats stats;
  if (workload.requests.empty()) return stats;
  stats.requests = static_cast<std::int64_t>(workload.requests.size());
  stats.span_s = workload.requests.back().arrival_s - workload.requests.front().arrival_s;
  if (stats.span_s > 0) stats.rate = static_cast<double>(stats.requests) / stats.span_s;
  std::vector<double> prompts;
  std::vector<double> outputs;
  absl::flat_hash_set<std::uint64_t> seen;
  double all = 0;
  double shared = 0;
  double long_prompts = 0;
  for (const WorkloadRequest& request : workload.requests) {
    prompts.push_back(static_cast<double>(request.prompt_tokens));
    outputs.push_back(static_cast<double>(request.output_tokens));
    all += prompts.back();
    if (request.prompt_tokens > kLongPrompt) ++long_prompts;
    if (request.prefix_id != 0 && !seen.insert(request.prefix_id).second) {
      shared += static_cast<double>(request.prefix_tokens);
    }
  }
  stats.prompt = LengthsOf(prompts);
  stats.output = LengthsOf(outputs);
  stats.pearson = Correlation(prompts, outputs);
  stats.spearman = Correlation(Ranks(prompts), Ranks(outputs));
  stats.long_prompt_share = long_prompts / static_cast<double>(stats.requests);
  stats.prefix_share = shared / all;
  ArrivalStats(workload, stats);
  return stats;
}

}  // namespace baton::simulator
