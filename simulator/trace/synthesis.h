#pragma once

#include <cstdint>
#include <vector>

#include <absl/status/statusor.h>

#include "simulator/workload.h"

/// Loads that are made, and loads that are changed. All pure: equal arguments, equal bits.
namespace baton::simulator {

/// kPoisson: independent. kGamma: independent gaps with a coefficient of variation of their own. kMmpp:
/// Poisson whose rate switches between a calm and a bursty state.
enum class ArrivalProcess { kPoisson, kGamma, kMmpp };

struct ArrivalOptions {
  ArrivalProcess process = ArrivalProcess::kPoisson;
  double rate = 1;  // requests a second, on average
  double duration_s = 120;
  double cv = 1;             // kGamma: of the gaps
  double burst_ratio = 5;    // kMmpp: rate of a burst over the calm one
  double burst_share = 0.2;  // kMmpp: of the time that is burst
  double burst_s = 10;       // kMmpp: mean length of a burst
};

/// Where lengths come from: a sample with replacement (prompt and output drawn apart, as in the paper, or as
/// pairs), or two log-normal distributions where `sample` is empty.
struct LengthOptions {
  std::vector<WorkloadRequest> sample;
  bool paired = false;
  double prompt_median = 1020;
  double prompt_sigma = 0.9;
  double output_median = 129;
  double output_sigma = 1.0;
  std::int64_t tokens_max = 32768;  // log-normal only
};

[[nodiscard]] absl::StatusOr<Workload> Synthesize(const ArrivalOptions& arrivals,
                                                  const LengthOptions& lengths, std::uint64_t seed);

/// The same requests, `factor` times as fast. Factor above 0.
[[nodiscard]] Workload Scaled(const Workload& workload, double factor);
/// What arrives in [from_s, to_s), counted from from_s.
[[nodiscard]] Workload Trimmed(const Workload& workload, double from_s, double to_s);
/// Both, in order of arrival; ids are counted anew. Prefixes of different loads are not shared.
[[nodiscard]] Workload Merged(const std::vector<Workload>& workloads);
/// Requests a second between the first and the last arrival; 0 for fewer than two.
[[nodiscard]] double RateOf(const Workload& workload);

}  // namespace baton::simulator
