#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include <absl/status/statusor.h>

#include "common/base/mutex.h"
#include "router/record/entry.h"

namespace baton::router {

struct RecorderOptions {
  std::string file;
  std::uint64_t limit_bytes = std::uint64_t{256} << 20;
  std::uint64_t behind_bytes_max = std::uint64_t{16} << 20;  // that may wait for the disk
};

/// Writes a recording. Its calls never wait for the disk: a thread of its own writes what they leave in
/// memory. A recording that would pass its limit, or that the disk does not keep up with, stops: an end line
/// and a warning in the log say so. All calls on one thread, the control loop's.
class Recorder {
 public:
  /// Creates the file, readable by its owner alone; one that is there is first renamed to FILE.old.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Recorder>> Open(RecorderOptions options,
                                                                      const RecordingStart& start);
  /// Takes the file, open for writing, and closes it: for `Open`.
  Recorder(RecorderOptions options, int descriptor);
  /// Writes what is left, and the end.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void Event(const cluster::ClusterEvent& event);
  void Admitted(RequestId request, const RequestSize& size, const cluster::ClusterSnapshot& seen,
                std::optional<Refusal> refusal);
  void Placed(RequestKey key, const RequestSize& size, const cluster::ClusterSnapshot& seen,
              const PlacementResult& result);
  void Ready(const cluster::ClusterSnapshot& seen, std::optional<Refusal> refusal);

 private:
  [[nodiscard]] bool Going() const { return !ended_ && !failed_; }
  template <typename T>
  void Add(const T& entry);
  void End(const char* why);
  /// Bytes that then wait for the disk.
  std::size_t Append(std::string_view line);
  void WriteUntilClosed();
  [[nodiscard]] bool WriteAll(std::string_view text);

  const RecorderOptions options_;
  const int descriptor_;
  std::uint64_t bytes_ = 0;
  std::int64_t lines_ = 0;
  bool ended_ = false;
  std::atomic<bool> failed_ = false;  // the file cannot be written

  Mutex mutex_;
  std::condition_variable wake_;
  std::string pending_;   // guarded by mutex_
  bool closing_ = false;  // guarded by mutex_
  std::thread writer_;
};

}  // namespace baton::router
