#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "perf/load_client.h"

namespace baton::perf {

/// Quantiles of a set of times, in milliseconds; all 0 where the set is empty.
struct Quantiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  std::size_t count = 0;
};
/// By nearest rank.
[[nodiscard]] Quantiles QuantilesOf(std::vector<double> milliseconds);

/// What a load amounts to.
struct Report {
  std::int64_t requests = 0;
  std::int64_t complete = 0;
  std::map<std::string, std::int64_t> errors;  // by code, or by kind where there is none
  double seconds = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;
  Quantiles time_to_first_token;
  Quantiles time_between_tokens;
  Quantiles end_to_end;
};

/// Times count complete answers only; errors are counted, not averaged away.
[[nodiscard]] Report Summarize(const LoadResult& result);

[[nodiscard]] std::string AsTable(const Report& report, const LoadOptions& options);
/// One JSON object with "schema_version" 1.
[[nodiscard]] std::string AsJson(const Report& report, const LoadOptions& options);

}  // namespace baton::perf
