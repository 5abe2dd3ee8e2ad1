#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <absl/status/status.h>

#include "common/base/ids.h"

/// KV in memory that the transport cannot reach (a GPU's, with a UCX that knows none) goes through a few
/// pinned slots of host memory: gathered into one while another is on the wire.
namespace baton::kvtransfer {

/// Which slot, from 0.
using SlotIndex = StrongId<struct SlotIndexTag, std::uint32_t>;

/// Copies between a worker's KV memory and the slots. The host's implementation copies at once; CUDA's
/// enqueues on a copy stream and calls back from there.
class Stager {
 public:
  /// Called once for each copy, on any thread.
  using Done = std::function<void(const absl::Status&)>;
  virtual ~Stager() = default;
  [[nodiscard]] virtual std::size_t SlotCount() const = 0;
  [[nodiscard]] virtual std::size_t SlotBytes() const = 0;
  /// Host memory that a transport may send from and receive into.
  [[nodiscard]] virtual std::span<std::byte> Slot(SlotIndex slot) = 0;
  /// The pieces, one after another, into the slot's beginning. Their sum is at most SlotBytes.
  virtual void Gather(std::vector<std::span<const std::byte>> pieces, SlotIndex slot, Done done) = 0;
  /// The slot's beginning into the pieces.
  virtual void Scatter(SlotIndex slot, std::vector<std::span<std::byte>> pieces, Done done) = 0;
};

/// Slots of ordinary host memory: for a machine without a GPU, and what a GPU's is compared with.
[[nodiscard]] std::unique_ptr<Stager> CreateHostStager(std::size_t slots, std::size_t slot_bytes);

/// The order of a staged transfer's work, as a pure machine: each message is gathered into a free slot, sent
/// from it, and gives it back. Sends go in order; as many gathers as there are slots run ahead of them.
class StagingPipeline {
 public:
  struct Action {
    enum class Kind { kGather, kSend } kind = Kind::kGather;
    std::size_t message = 0;
    SlotIndex slot;
    friend bool operator==(const Action&, const Action&) = default;
  };
  using Actions = std::vector<Action>;

  explicit StagingPipeline(std::size_t slots);

  /// `count` more messages may go.
  [[nodiscard]] Actions Ready(std::size_t count);
  [[nodiscard]] Actions Gathered(std::size_t message);
  [[nodiscard]] Actions Sent(std::size_t message);
  /// Begins nothing more. Gathers and sends under way still end, and are still to be reported.
  void Abort() {
    aborted_ = true;
    static_cast<void>(Advance());
  }
  /// Nothing is under way: the slots and the source are nobody's.
  [[nodiscard]] bool Idle() const { return free_.size() == slots_; }

 private:
  enum class State { kGathering, kGathered, kSending };
  struct Message {
    std::size_t number = 0;
    SlotIndex slot;
    State state = State::kGathering;
  };
  Actions Advance();

  const std::size_t slots_;
  std::vector<SlotIndex> free_;
  std::deque<Message> messages_;  // in a slot, in order
  std::size_t ready_ = 0;         // messages that may go, from the first on
  std::size_t next_ = 0;          // the next one to be gathered
  bool aborted_ = false;
};

}  // namespace baton::kvtransfer
