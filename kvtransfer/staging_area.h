#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "kvtransfer/handoff.h"
#include "kvtransfer/side_host.h"
#include "kvtransfer/staging.h"

namespace baton::kvtransfer {

/// How many of them the options ask for, of kMessageBytesMax each.
[[nodiscard]] std::size_t StagingSlots(const HandoffOptions& options);

/// The slots of a worker's sends, shared by all of them, made when the first message needs one. Control loop
/// only.
class StagingArea {
 public:
  StagingArea(SideHost& host, const HandoffOptions& options) : host_(host), options_(options) {}
  ~StagingArea();
  StagingArea(const StagingArea&) = delete;
  StagingArea& operator=(const StagingArea&) = delete;

  /// A slot, for whoever gives it back.
  [[nodiscard]] std::optional<SlotIndex> Take();
  void Give(SlotIndex slot) { free_->Give(slot); }
  /// Makes a message; `done` runs on the loop, not from inside this call, and not once the area is gone.
  void Make(SlotIndex slot, StageJob job, std::function<void(const absl::Status&)> done);
  [[nodiscard]] std::span<const std::byte> Bytes(SlotIndex slot, std::size_t count) const {
    return stager_->Slot(slot).first(count);
  }
  /// Keeps the slots' memory: a transport may read it longer than this area lives.
  [[nodiscard]] std::shared_ptr<const void> Memory() const { return stager_; }

 private:
  SideHost& host_;
  const HandoffOptions options_;
  std::shared_ptr<Stager> stager_;  // null until it is needed
  std::optional<FreeSlots> free_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton::kvtransfer
