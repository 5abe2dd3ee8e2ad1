#include "simulator/trace/synthesis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "common/base/error.h"
#include "common/base/random.h"

namespace baton::simulator {
namespace {

// What one file of ours may hold (TraceLimits): a rate mistyped by a factor of a thousand ends here.
constexpr double kRequestsMax = 50e6;

double Exponential(RandomStream& chance) {
  return -std::log1p(-chance.Uniform());
}

double Normal(RandomStream& chance) {
  const double radius = std::sqrt(2 * Exponential(chance));
  return radius * std::cos(2 * std::numbers::pi * chance.Uniform());
}

/// Gamma of mean `shape` and scale 1 (Marsaglia and Tsang, ACM TOMS 2000).
double Gamma(RandomStream& chance, double shape) {
  if (shape < 1) return Gamma(chance, shape + 1) * std::pow(1 - chance.Uniform(), 1 / shape);
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = Normal(chance);
    const double v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(1 - chance.Uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

/// Gaps between arrivals.
class Gaps {
 public:
  Gaps(const ArrivalOptions& options, RandomStream& chance) : options_(options), chance_(chance) {
    const double share = options.burst_share;
    calm_rate_ = options.rate / (1 - share + share * options.burst_ratio);
    burst_ = chance_.Uniform() < share;
    state_left_s_ = StateLength();
  }

  double Next() {
    switch (options_.process) {
      case ArrivalProcess::kPoisson:
        return Exponential(chance_) / options_.rate;
      case ArrivalProcess::kGamma: {
        const double shape = 1 / (options_.cv * options_.cv);
        return Gamma(chance_, shape) / (shape * options_.rate);
      }
      case ArrivalProcess::kMmpp:
        return Switching();
    }
    return 0;
  }

 private:
  double StateLength() {
    const double calm_s = options_.burst_s * (1 - options_.burst_share) / options_.burst_share;
    return Exponential(chance_) * (burst_ ? options_.burst_s : calm_s);
  }

  double Switching() {
    double work = Exponential(chance_);  // arrivals expected until the next one
    double gap = 0;
    while (true) {
      const double rate = burst_ ? calm_rate_ * options_.burst_ratio : calm_rate_;
      if (work <= rate * state_left_s_) {
        const double rest = work / rate;
        state_left_s_ -= rest;
        return gap + rest;
      }
      work -= rate * state_left_s_;
      gap += state_left_s_;
      burst_ = !burst_;
      state_left_s_ = StateLength();
    }
  }

  const ArrivalOptions& options_;
  RandomStream& chance_;
  double calm_rate_ = 0;
  bool burst_ = false;
  double state_left_s_ = 0;
};

std::int64_t LogNormal(RandomStream& chance, double median, double sigma, std::int64_t most) {
  const double value = median * std::exp(sigma * Normal(chance));
  return std::clamp(static_cast<std::int64_t>(std::min(value, 9e15)), std::int64_t{1}, most);
}

void DrawLengths(const LengthOptions& lengths, RandomStream& chance, WorkloadRequest& request) {
  if (lengths.sample.empty()) {
    request.prompt_tokens =
        LogNormal(chance, lengths.prompt_median, lengths.prompt_sigma, lengths.tokens_max);
    request.output_tokens =
        LogNormal(chance, lengths.output_median, lengths.output_sigma, lengths.tokens_max);
    return;
  }
  const auto draw = [&]() -> const WorkloadRequest& {
    const auto last = static_cast<std::int64_t>(lengths.sample.size()) - 1;
    return lengths.sample[static_cast<std::size_t>(chance.Between(0, last))];
  };
  const WorkloadRequest& first = draw();
  request.prompt_tokens = first.prompt_tokens;
  request.output_tokens = lengths.paired ? first.output_tokens : draw().output_tokens;
}

absl::Status Check(const ArrivalOptions& arrivals, const LengthOptions& lengths) {
  const auto above_zero = [](const char* name, double value) {
    if (value > 0 && std::isfinite(value)) return absl::OkStatus();
    return Error(kInvalidArgument, "{}: {} must be above 0", name, value);
  };
  BATON_RETURN_IF_ERROR(above_zero("rate", arrivals.rate));
  BATON_RETURN_IF_ERROR(above_zero("duration", arrivals.duration_s));
  BATON_RETURN_IF_ERROR(above_zero("burst", arrivals.burst_s));
  BATON_RETURN_IF_ERROR(above_zero("prompt median", lengths.prompt_median));
  BATON_RETURN_IF_ERROR(above_zero("output median", lengths.output_median));
  // Beyond 30 one gap in a thousand holds the whole rate, and no run of any length shows the mean.
  if (!(arrivals.cv >= 0.05 && arrivals.cv <= 30)) {
    return Error(kInvalidArgument, "cv: {} is not between 0.05 and 30", arrivals.cv);
  }
  if (!(arrivals.burst_ratio >= 1 && arrivals.burst_ratio <= 1e6)) {
    return Error(kInvalidArgument, "burst ratio: {} is not between 1 and 1e6", arrivals.burst_ratio);
  }
  if (!(arrivals.burst_share > 0 && arrivals.burst_share < 1)) {
    return Error(kInvalidArgument, "burst share: {} is not between 0 and 1", arrivals.burst_share);
  }
  if (arrivals.rate * arrivals.duration_s > kRequestsMax) {
    return Error(kResourceExhausted, "{} requests/s for {} s are more than {:.0f} requests", arrivals.rate,
                 arrivals.duration_s, kRequestsMax);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Workload> Synthesize(const ArrivalOptions& arrivals, const LengthOptions& lengths,
                                    std::uint64_t seed) {
  BATON_RETURN_IF_ERROR(Check(arrivals, lengths));
  // Streams apart: another rate does not change which lengths come, nor other lengths when they come.
  RandomStream arrival_chance(Mix64(seed));
  RandomStream length_chance(Mix64(seed ^ 0x6c656e67746873ULL));
  Workload workload{.name = fmt::format("synthetic-{:g}rps-seed{}", arrivals.rate, seed), .requests = {}};
  workload.requests.reserve(static_cast<std::size_t>(arrivals.rate * arrivals.duration_s));
  Gaps gaps(arrivals, arrival_chance);
  for (double at = gaps.Next(); at < arrivals.duration_s; at += gaps.Next()) {
    WorkloadRequest request{.id = static_cast<std::int64_t>(workload.requests.size()), .arrival_s = at};
    DrawLengths(lengths, length_chance, request);
    workload.requests.push_back(request);
  }
  if (workload.requests.empty()) {
    return Error(kInvalidArgument, "no request arrives in {} s at {} requests/s", arrivals.duration_s,
                 arrivals.rate);
  }
  return workload;
}

Workload Scaled(const Workload& workload, double factor) {
  Workload scaled = workload;
  for (WorkloadRequest& request : scaled.requests) request.arrival_s /= factor;
  return scaled;
}

Workload Trimmed(const Workload& workload, double from_s, double to_s) {
  Workload trimmed{.name = workload.name, .requests = {}};
  for (WorkloadRequest request : workload.requests) {
    if (request.arrival_s < from_s || request.arrival_s >= to_s) continue;
    request.arrival_s -= from_s;
    trimmed.requests.push_back(request);
  }
  return trimmed;
}

Workload Merged(const std::vector<Workload>& workloads) {
  Workload merged;
  for (std::size_t part = 0; part < workloads.size(); ++part) {
    merged.name += (merged.name.empty() ? "" : "+") + workloads[part].name;
    for (WorkloadRequest request : workloads[part].requests) {
      if (request.prefix_id != 0 && part > 0) {
        // 53 bits: what a file can hold.
        request.prefix_id = CounterBits(part, request.prefix_id) >> 11;
      }
      merged.requests.push_back(request);
    }
  }
  std::stable_sort(
      merged.requests.begin(), merged.requests.end(),
      [](const WorkloadRequest& a, const WorkloadRequest& b) { return a.arrival_s < b.arrival_s; });
  for (std::size_t i = 0; i < merged.requests.size(); ++i)
    merged.requests[i].id = static_cast<std::int64_t>(i);
  return merged;
}

double RateOf(const Workload& workload) {
  if (workload.requests.size() < 2) return 0;
  const double span = workload.requests.back().arrival_s - workload.requests.front().arrival_s;
  return span > 0 ? static_cast<double>(workload.requests.size() - 1) / span : 0;
}

}  // namespace baton::simulator
