#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/device_copier.h"
#include "common/base/ids.h"
#include "kvtransfer/element.h"

/// KV that cannot be sent from where it lies, since the receiver wants it otherwise or the transport cannot
/// read it there, goes through a few slots of host memory: put together in one while another is on the wire.
namespace baton::kvtransfer {

/// Which slot, from 0.
using SlotIndex = StrongId<struct SlotIndexTag, std::uint32_t>;

/// One message's making.
struct StageJob {
  struct Piece {
    const std::byte* source = nullptr;  // in the worker's KV memory
    std::size_t count = 0;              // elements
    std::size_t at = 0;                 // bytes from the slot's beginning
  };
  Element from = Element::kF32;
  Element to = Element::kF32;
  std::vector<Piece> pieces;
  std::size_t bytes = 0;  // of the message; what no piece covers is zero: it may hold another's KV
};

/// Makes messages in slots that a transport may send from. Called on the control loop; the work is done on a
/// thread of its own.
class Stager {
 public:
  /// Called once for each job, on any thread.
  using Done = std::function<void(const absl::Status&)>;
  virtual ~Stager() = default;
  [[nodiscard]] virtual std::size_t SlotCount() const = 0;
  [[nodiscard]] virtual std::size_t SlotBytes() const = 0;
  [[nodiscard]] virtual std::span<std::byte> Slot(SlotIndex slot) = 0;
  virtual void Gather(SlotIndex slot, StageJob job, Done done) = 0;
  /// Returns once every job has been done.
  virtual void Finish() = 0;
};

/// Slots of ordinary host memory, for KV in host memory. Without
/// `own_thread` a job is done when Gather returns.
[[nodiscard]] std::unique_ptr<Stager> CreateHostStager(std::size_t slots, std::size_t slot_bytes,
                                                       bool own_thread);

/// The same for KV in a device's memory: slots that it writes itself, from where the host converts if it
/// must. ResourceExhausted where the slots' memory cannot be had.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Stager>> CreateDeviceStager(std::shared_ptr<DeviceCopier> copier,
                                                                         std::size_t slots,
                                                                         std::size_t slot_bytes);

/// Which slots are free. Pure.
class FreeSlots {
 public:
  explicit FreeSlots(std::size_t slots);
  [[nodiscard]] std::optional<SlotIndex> Take();
  void Give(SlotIndex slot);
  [[nodiscard]] bool AllFree() const { return free_.size() == slots_; }

 private:
  std::size_t slots_;
  std::vector<SlotIndex> free_;
};

}  // namespace baton::kvtransfer
