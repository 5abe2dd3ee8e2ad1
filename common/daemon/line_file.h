#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <absl/status/statusor.h>

#include "common/base/mutex.h"

namespace baton::daemon {

/// A file of lines that grows: `Append` leaves a line in memory, and a thread of its own writes it, at least
/// every 200 ms. All calls on one thread, whichever that is.
class LineFile {
 public:
  /// Creates the file, readable by its owner alone; one that is there is first renamed to FILE.old. A failure
  /// to write is logged once, as `what` + "_failed".
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<LineFile>> Open(const std::string& file,
                                                                      std::string_view what);
  /// Takes the descriptor, open for writing, and closes it: for `Open`.
  LineFile(std::string file, std::string_view what, int descriptor);
  /// Writes what is left.
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  /// Without the end of line. Bytes that then wait for the disk.
  std::size_t Append(std::string_view line);
  [[nodiscard]] const std::string& Name() const { return file_; }
  /// Of all lines, written or waiting.
  [[nodiscard]] std::uint64_t Bytes() const { return bytes_; }
  [[nodiscard]] std::int64_t Lines() const { return lines_; }
  /// Nothing more reaches the file.
  [[nodiscard]] bool Failed() const { return failed_; }

 private:
  void WriteUntilClosed();
  [[nodiscard]] bool WriteAll(std::string_view text);

  const std::string file_;
  const std::string what_;
  const int descriptor_;
  std::uint64_t bytes_ = 0;
  std::int64_t lines_ = 0;
  std::atomic<bool> failed_ = false;

  Mutex mutex_;
  std::condition_variable wake_;
  std::string pending_;   // guarded by mutex_
  bool closing_ = false;  // guarded by mutex_
  std::thread writer_;
};

}  // namespace baton::daemon
