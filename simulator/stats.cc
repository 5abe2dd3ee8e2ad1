#include "simulator/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace baton::simulator {
namespace {

constexpr double kForever = std::numeric_limits<double>::infinity();

double Overlap(double from_a, double to_a, double from_b, double to_b) {
  return std::max(0.0, std::min(to_a, to_b) - std::max(from_a, from_b));
}

/// P(T <= t) for t >= 0: the density by Simpson's rule, whose error is far below what a table prints.
double StudentCdf(double t, int degrees) {
  const double n = degrees;
  const double scale = std::exp(std::lgamma((n + 1) / 2) - std::lgamma(n / 2)) / std::sqrt(n * M_PI);
  const auto density = [&](double x) { return scale * std::pow(1 + x * x / n, -(n + 1) / 2); };
  constexpr int kSteps = 2000;
  const double h = t / kSteps;
  double sum = density(0) + density(t);
  for (int i = 1; i < kSteps; ++i) sum += (i % 2 == 1 ? 4 : 2) * density(i * h);
  return 0.5 + sum * h / 3;
}

}  // namespace

double SortedQuantile(std::span<const double> sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

double QuantileOf(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return SortedQuantile(values, q);
}

double StudentQuantile(double p, int degrees) {
  if (p < 0.5) return -StudentQuantile(1 - p, degrees);
  double low = 0;
  double high = 1;
  while (StudentCdf(high, degrees) < p && high < 1e6) high *= 2;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (StudentCdf(middle, degrees) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

MeanInterval ConfidenceInterval(std::span<const double> values, double confidence) {
  const auto count = static_cast<double>(values.size());
  MeanInterval interval{0, kForever};
  for (const double value : values) interval.mean += value / count;
  if (values.size() < 2) return interval;
  double squares = 0;
  for (const double value : values) squares += (value - interval.mean) * (value - interval.mean);
  const double error = std::sqrt(squares / (count - 1) / count);
  interval.half_width = StudentQuantile(0.5 + confidence / 2, static_cast<int>(values.size()) - 1) * error;
  return interval;
}

double MeanWaiting(const Workload& workload, const RunResult& result, double from_s, double to_s) {
  double waited = 0;
  for (const RequestOutcome& outcome : result.requests) {
    if (outcome.end == RequestEnd::kRefused) continue;
    const double arrival = workload.requests[static_cast<std::size_t>(outcome.request)].arrival_s;
    const bool began = outcome.ttft_s > 0 || outcome.end == RequestEnd::kDone;
    waited += Overlap(arrival, began ? arrival + outcome.queue_s : kForever, from_s, to_s);
    if (!began) continue;
    const double prompt_end = arrival + outcome.ttft_s;
    const bool decoded = outcome.second_token_s > 0 || outcome.end == RequestEnd::kDone;
    waited += Overlap(prompt_end, decoded ? prompt_end + outcome.second_token_s : kForever, from_s, to_s);
  }
  return waited / (to_s - from_s);
}

bool BacklogGrows(const Workload& workload, const RunResult& result) {
  if (workload.requests.size() < 20) return false;
  const double first = workload.requests.front().arrival_s;
  const double span = workload.requests.back().arrival_s - first;
  if (span <= 0) return false;
  const double middle = MeanWaiting(workload, result, first + 0.4 * span, first + 0.6 * span);
  const double late = MeanWaiting(workload, result, first + 0.8 * span, first + span);
  const double between = 0.4 * static_cast<double>(workload.requests.size());
  return late > 1.4 * middle && late - middle > std::max(5.0, 0.01 * between);
}

}  // namespace baton::simulator
