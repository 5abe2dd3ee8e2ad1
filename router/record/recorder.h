#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "common/daemon/line_file.h"
#include "router/record/entry.h"

namespace baton::router {

struct RecorderOptions {
  std::string file;
  std::uint64_t limit_bytes = std::uint64_t{256} << 20;
  std::uint64_t behind_bytes_max = std::uint64_t{16} << 20;  // that may wait for the disk
};

/// Writes a recording. Its calls never wait for the disk (`LineFile`). A recording that would pass its limit,
/// or that the disk does not keep up with, stops: an end line and a warning in the log say so. All calls on
/// one thread, the control loop's.
class Recorder {
 public:
  /// Creates the file, readable by its owner alone; one that is there is first renamed to FILE.old.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Recorder>> Open(RecorderOptions options,
                                                                      const RecordingStart& start);
  /// For `Open`.
  Recorder(RecorderOptions options, std::unique_ptr<daemon::LineFile> file);
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
  [[nodiscard]] bool Going() const { return !ended_ && !file_->Failed(); }
  template <typename T>
  void Add(const T& entry);
  void End(const char* why);

  const RecorderOptions options_;
  const std::unique_ptr<daemon::LineFile> file_;
  bool ended_ = false;
};

}  // namespace baton::router
