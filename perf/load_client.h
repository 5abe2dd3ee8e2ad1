#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/net/connection.h"
#include "perf/answer.h"

namespace baton::perf {

/// A load of streamed completions.
struct LoadOptions {
  net::Address server;
  std::string model;
  std::string prompt;  // used where prompt_tokens is 0
  std::int64_t prompt_tokens =
      0;  // else: as many random ids of 0..255, which every byte-level vocabulary has
  std::int64_t requests = 16;
  std::int64_t concurrency = 1;  // closed loop: requests at a time
  double rate = 0;               // open loop: Poisson arrivals a second; 0 = closed loop
  std::int64_t max_tokens = 16;
  bool ignore_eos = false;
  double temperature = 0;
  std::uint64_t seed = 0;
  Duration timeout = std::chrono::seconds(120);
};

/// The body of request `index`: a pure function of the options.
[[nodiscard]] std::string RequestBody(const LoadOptions& options, std::int64_t index);

/// When each request of an open loop is due, after the beginning; a pure function of the options.
[[nodiscard]] std::vector<Duration> Arrivals(const LoadOptions& options);

struct LoadResult {
  std::vector<Answer>
      answers;  // of the requests that were sent; `begun` of an open loop is when the request was due
  Duration wall{};
};

/// Runs the load; `on_answer` sees the number of answers so far, on any thread. `stop` ends it early: nothing
/// new is sent.
[[nodiscard]] LoadResult RunLoad(const LoadOptions& options, const std::atomic<bool>& stop,
                                 const std::function<void(std::int64_t answered)>& on_answer);

}  // namespace baton::perf
