#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"

namespace baton::test {

/// Looks at `condition` until it holds (true) or `limit` has passed (false): the one place where a test waits
/// by looking, for what another process shows but does not announce.
[[nodiscard]] bool WaitUntil(Duration limit, const std::function<bool()>& condition);

/// A child process. It dies with this object, and with the test program however that ends.
class Process {
 public:
  /// Starts `command` (a path and its arguments); stdout and stderr go to `log_file`, which is appended to.
  Process(const std::vector<std::string>& command, std::string log_file);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t Id() const { return id_; }
  void Signal(int signal) const;
  [[nodiscard]] bool Running();
  /// The exit code, or 128 + the signal that ended it; nothing where it still runs after `limit`.
  [[nodiscard]] std::optional<int> WaitExit(Duration limit);
  /// Entries of /proc/ID/fd.
  [[nodiscard]] std::size_t OpenDescriptors() const;
  [[nodiscard]] std::string Log() const;

 private:
  void Reap(int options);

  pid_t id_ = -1;
  std::string log_file_;
  std::optional<int> exit_;
};

struct RunResult {
  int exit = -1;  // -1: it did not end in time and was killed
  std::string output;
};

/// Runs a command to its end.
[[nodiscard]] RunResult RunToEnd(const std::vector<std::string>& command,
                                 Duration limit = std::chrono::seconds(20));

void WriteFile(const std::string& path, const std::string& text);

}  // namespace baton::test
