#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "common/daemon/line_file.h"
#include "engine/executor.h"
#include "engine/worker/config.h"

namespace baton::engine {

/// What all rows of a worker's file have in common.
struct StepLogSubject {
  std::string model;     // the router's name of it
  std::string hardware;  // what computes
  int ranks = 1;
};

/// A CSV row for each step (docs/SIMULATOR.md, 9), without whose it was. A row is made in memory; another
/// thread writes it. The file ends, with a warning in the log, before it would pass its limit or where the
/// disk does not keep up. Engine thread only, but for the making and the destructor.
class StepLog {
 public:
  /// See `daemon::LineFile::Open` for a file that is there.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<StepLog>> Open(const StepLogConfig& config,
                                                                     const StepLogSubject& subject);
  /// For `Open`.
  StepLog(std::unique_ptr<daemon::LineFile> file, std::uint64_t limit_bytes, const StepLogSubject& subject);
  void Add(const StepReport& step);

 private:
  void End(const char* why);

  const std::unique_ptr<daemon::LineFile> file_;
  const std::uint64_t limit_bytes_;
  const std::string subject_;  // the first cells of each row
  bool ended_ = false;
};

}  // namespace baton::engine
