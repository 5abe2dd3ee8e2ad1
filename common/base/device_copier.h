#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace baton {

/// Copies between memory that the host cannot read (a GPU's) and the host's, beside whatever that device
/// computes. From any thread; a call returns when its own copies are complete. What it reads must be
/// complete, and nobody else may touch what it writes.
class DeviceCopier {
 public:
  /// `bytes` at `address` of the device, and `at` bytes from the beginning of the host's area.
  struct Piece {
    std::byte* address = nullptr;
    std::size_t at = 0;
    std::size_t bytes = 0;
  };
  /// Within the device.
  struct Move {
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    std::size_t bytes = 0;
  };
  virtual ~DeviceCopier() = default;
  /// Host memory that the device reads and writes at full speed (pinned); freed with its last owner, also
  /// after the copier. ResourceExhausted names the size.
  [[nodiscard]] virtual absl::StatusOr<std::shared_ptr<std::byte>> AllocateHost(std::size_t bytes) = 0;
  /// Pieces of the device into `host`, which lies in memory of AllocateHost.
  [[nodiscard]] virtual absl::Status Gather(std::span<const Piece> pieces, std::byte* host) = 0;
  /// And back.
  [[nodiscard]] virtual absl::Status Scatter(const std::byte* host, std::span<const Piece> pieces) = 0;
  [[nodiscard]] virtual absl::Status CopyWithin(std::span<const Move> moves) = 0;
  /// Makes the device the calling thread's own, for a library that reads its memory there. Of several devices
  /// the first.
  virtual void EnterThread() = 0;
};

}  // namespace baton
