#pragma once

#include <cstdint>
#include <vector>

#include "simulator/workload.h"

namespace baton::simulator {

struct LengthStats {
  std::int64_t least = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  std::int64_t most = 0;
};

/// What a planner asks of a load before a simulation. Quantiles interpolate between ranks, as numpy's do.
struct TraceStats {
  std::int64_t requests = 0;
  double span_s = 0;
  double rate = 0;  // requests over the span
  LengthStats prompt;
  LengthStats output;
  double pearson = 0;  // prompt and output
  double spearman = 0;
  double gap_cv = 0;  // of the times between arrivals; 1: Poisson
  double gap_longest_s = 0;
  std::int64_t second_most = 0;  // arrivals within one second of the clock
  double dispersion_60s = 0;     // variance over mean of arrivals in a minute; 1: Poisson
  double long_prompt_share = 0;  // above 2048 tokens, the reference's batch
  double prefix_share = 0;       // of prompt tokens that a request of the same prefix came before
};

[[nodiscard]] TraceStats StatsOf(const Workload& workload);

}  // namespace baton::simulator
