#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "kvtransfer/data_header.h"
#include "kvtransfer/device_landings.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/transport.h"

namespace baton::kvtransfer {

/// Where the payload of a message goes.
struct Landing {
  /// In order; together the payload's length. In the blocks themselves, or in `slot`, or in `staged`.
  std::vector<std::span<std::byte>> places;
  std::vector<std::byte> staged{};
  std::shared_ptr<std::byte> slot{};
  std::optional<WireFormat> wire{};            // of what has come, where the blocks have it otherwise
  Element element = Element::kF32;             // of the blocks
  std::vector<std::span<std::byte>> blocks{};  // where it belongs, if that is not where it lands
  std::shared_ptr<DeviceLandings> device{};    // of blocks that the host cannot write

  /// It does not land in its blocks.
  [[nodiscard]] bool Settles() const { return !blocks.empty(); }
  /// Brings what `Settles` into the blocks, once it is verified. Part of the receive: before `End`.
  [[nodiscard]] absl::Status Settle() const;
};

/// The receive windows of one transport, and the check of every message against them: indices, never
/// addresses, come from the wire. Used from one thread at a time (the transport's).
class ReceiveWindows {
 public:
  explicit ReceiveWindows(const ArenaView& arena) : arena_(arena) {}
  /// Of an arena in a device's memory: the slots for what comes, of `staging_bytes`. Else nothing is to be
  /// done.
  [[nodiscard]] absl::Status Prepare(std::uint64_t staging_bytes);

  void Open(ReceiveWindow window);
  /// No message is accepted any more. True where nothing is in flight: drained at once.
  [[nodiscard]] bool Close(TransferId transfer);
  /// Where the payload of `header` goes, in order, or why it may not: unknown or closed transfer, stale
  /// incarnation, layer or block outside the window, length that differs from the runs', or a block that has
  /// come already: it may be verified by now, and is not written again.
  [[nodiscard]] absl::StatusOr<Landing> Place(const DataHeader& header) const;
  /// A receive into the window has begun, of what `Place` allowed, or ended. `End` is true where that was the
  /// last one of a closed window.
  void Begin(const DataHeader& header);
  [[nodiscard]] bool End(TransferId transfer);

 private:
  struct Entry {
    ReceiveWindow window;
    std::int64_t in_flight = 0;
    bool closed = false;
    std::int64_t blocks = 0;
    std::vector<bool> begun{};  // [layer of all ranks'][place of the block among those granted]
  };
  /// Places of `run`'s blocks in `begun`: the first; the rest follow. Nothing where they are not granted.
  [[nodiscard]] std::optional<std::size_t> FirstPlace(const Entry& entry, const DataRun& run) const;
  ArenaView arena_;
  std::shared_ptr<DeviceLandings> device_;  // null: the arena is the host's
  absl::flat_hash_map<TransferId, Entry> entries_;
};

}  // namespace baton::kvtransfer
