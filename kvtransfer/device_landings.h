#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/device_copier.h"
#include "common/base/mutex.h"

namespace baton::kvtransfer {

struct Landing;

/// The host's side of messages that belong into a device's memory: a few slots that they land in, and the way
/// from there into the blocks. Used from any thread. A slot goes back when its last owner lets go of it.
class DeviceLandings : public std::enable_shared_from_this<DeviceLandings> {
  struct Private {};

 public:
  /// As many slots as `bytes` hold, one at least, and one more to convert in. `block_bytes`: of one block in
  /// the arena.
  [[nodiscard]] static absl::StatusOr<std::shared_ptr<DeviceLandings>> Create(
      std::shared_ptr<DeviceCopier> copier, std::uint64_t bytes, std::size_t block_bytes);
  explicit DeviceLandings(Private) {}

  /// For a message of so many bytes. Null where none is free, or where the message is longer: it lands on the
  /// heap then, and costs a copy more.
  [[nodiscard]] std::shared_ptr<std::byte> Take(std::size_t bytes);
  /// Copies, and converts where they came otherwise, a message into its blocks; complete when it returns.
  [[nodiscard]] absl::Status Settle(const Landing& landing);

 private:
  void Give(std::size_t slot);

  std::shared_ptr<DeviceCopier> copier_;
  std::shared_ptr<std::byte> slots_;
  std::shared_ptr<std::byte> between_;  // guarded by between_mutex_
  std::size_t between_bytes_ = 0;
  std::size_t block_bytes_ = 0;
  Mutex between_mutex_;
  Mutex mutex_;
  std::vector<std::size_t> free_;  // guarded by mutex_
};

}  // namespace baton::kvtransfer
