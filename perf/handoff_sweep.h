#pragma once

#include <cstdint>
#include <vector>

#include "common/base/clock.h"
#include "common/net/connection.h"

namespace baton::perf {

struct HandoffSweepOptions {
  net::Address server;
  net::Address prefill;  // the workers' metrics listeners
  net::Address decode;
  std::vector<std::int64_t> lengths = {128, 256, 512, 1024, 2048, 4096};  // prompt tokens
  std::int64_t repeat = 20;
  Duration timeout = std::chrono::seconds(120);
};

/// Sends requests one at a time and prints, for each prompt length, quantiles of the hand-off: from the end
/// of the prompt's last step to the answer's first step on the decode worker, on the same host; how much of
/// that the KV was on the wire, and what else it was. From the processes' counters, read between any two
/// requests. A Markdown table on stdout; the exit code.
[[nodiscard]] int RunHandoffSweep(const HandoffSweepOptions& options);

}  // namespace baton::perf
