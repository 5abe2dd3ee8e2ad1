#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "router/record/entry.h"

/// A recording once more through the code that the router runs: the same events into a `ClusterView`, the
/// same questions to `Admit`, `Place` and `WhyNotReady`, and every answer compared with the recorded one.
namespace baton::router {

/// Bounds on what a recording may make us keep.
struct ReplayLimits {
  std::size_t workers = 4096;
  std::size_t requests = 1U << 20;             // at once
  std::int64_t lines = std::int64_t{1} << 28;  // some 50 GB
};

struct ReplayOptions {
  bool broken_off = false;           // accept a recording without its end, and drop a last line that is cut
  std::size_t differences_max = 10;  // that are put into words
  ReplayLimits limits;
};

struct Difference {
  std::int64_t line = 0;
  std::string what;  // "place 1f/1: recorded prefill 1, decode 2; replayed prefill 1, decode 4"
};

struct DecisionCount {
  std::int64_t made = 0;
  std::int64_t same = 0;
};

struct ReplayReport {
  RecordingStart start;
  std::string end;  // why the recording ends; "broken off" where it does not say
  std::int64_t lines = 0;
  std::int64_t events = 0;
  std::int64_t workers = 0;  // that joined
  Duration span{};           // from the first event to the last
  DecisionCount admit;
  DecisionCount place;
  DecisionCount ready;
  std::vector<Difference> differences;  // the first

  [[nodiscard]] bool Same() const { return differences.empty(); }
};

/// Reads `in` to its end. An error, "name:line: what", is about the recording: a line that is none of its
/// lines, too much of something, an end that is missing. Memory is bounded by the limits, time is that of the
/// live decisions.
[[nodiscard]] absl::StatusOr<ReplayReport> Replay(std::istream& in, const std::string& name,
                                                  const ReplayOptions& options = {});
[[nodiscard]] absl::StatusOr<ReplayReport> ReplayFile(const std::string& path,
                                                      const ReplayOptions& options = {});

}  // namespace baton::router
