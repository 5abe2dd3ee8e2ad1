#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// What arrives at a simulated cluster.
namespace baton::simulator {

/// One request of a load. The output's length is what it will be, not what its client allows: the world knows
/// it, policies do not.
struct WorkloadRequest {
  std::int64_t id = 0;
  double arrival_s = 0;  // since the start of the trace
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;  // at least 1
  std::uint64_t prefix_id = 0;     // requests of one id share their first `prefix_tokens` tokens; 0: nothing
  std::int64_t prefix_tokens = 0;
};

/// In order of arrival; ties in order of the file.
struct Workload {
  std::string name;  // of the file, or of what made it
  std::vector<WorkloadRequest> requests;
};

}  // namespace baton::simulator
