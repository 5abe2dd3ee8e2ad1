#pragma once

#include <cstdint>
#include <vector>

#include "common/base/clock.h"
#include "common/net/connection.h"

namespace baton::perf {

struct HandoffSweepOptions {
  net::Address server;
  std::vector<std::int64_t> lengths = {128, 256, 512, 1024, 2048, 4096};  // prompt tokens
  std::int64_t repeat = 5;
  Duration timeout = std::chrono::seconds(120);
};

/// Sends requests one at a time and prints, for each prompt length, means of the hand-off from the router's
/// counters: how long it was on the wire, how much of that computing hid, and what of it was not wire. A
/// Markdown table on stdout; the exit code.
[[nodiscard]] int RunHandoffSweep(const HandoffSweepOptions& options);

}  // namespace baton::perf
