#include "kvtransfer/staging.h"

#include <algorithm>
#include <cstring>
#include <future>

#include "common/base/check.h"
#include "kvtransfer/work_thread.h"

namespace baton::kvtransfer {
namespace {

class HostStager final : public Stager {
 public:
  HostStager(std::size_t slots, std::size_t slot_bytes, bool own_thread)
      : slots_(slots),
        slot_bytes_(slot_bytes),
        memory_(std::make_unique_for_overwrite<std::byte[]>(slots * slot_bytes)),
        thread_(own_thread ? std::make_unique<WorkThread>() : nullptr) {}

  std::size_t SlotCount() const override { return slots_; }
  std::size_t SlotBytes() const override { return slot_bytes_; }
  std::span<std::byte> Slot(SlotIndex slot) override {
    BATON_CHECK(slot.value < slots_);
    return {memory_.get() + slot.value * slot_bytes_, slot_bytes_};
  }
  void Gather(SlotIndex slot, StageJob job, Done done) override {
    BATON_CHECK(job.bytes <= slot_bytes_, "a message of {} bytes in a slot of {}", job.bytes, slot_bytes_);
    const std::span<std::byte> out = Slot(slot).first(job.bytes);
    if (thread_ == nullptr) {
      Make(job, out);
      return done(absl::OkStatus());
    }
    thread_->Post([job = std::move(job), out, done = std::move(done)] {
      Make(job, out);
      done(absl::OkStatus());
    });
  }
  void Finish() override {
    if (thread_ == nullptr) return;
    std::promise<void> done;
    thread_->Post([&done] { done.set_value(); });
    done.get_future().wait();
  }

 private:
  static void Make(const StageJob& job, std::span<std::byte> out) {
    std::size_t covered = 0;
    for (const StageJob::Piece& piece : job.pieces) covered += RowBytes(job.to, piece.count);
    if (covered < out.size()) std::memset(out.data(), 0, out.size());
    for (const StageJob::Piece& piece : job.pieces) {
      ConvertRow(job.from, {piece.source, RowBytes(job.from, piece.count)}, job.to,
                 out.subspan(piece.at, RowBytes(job.to, piece.count)), piece.count);
    }
  }

  const std::size_t slots_;
  const std::size_t slot_bytes_;
  const std::unique_ptr<std::byte[]> memory_;
  const std::unique_ptr<WorkThread> thread_;  // last: its work uses the above
};

}  // namespace

std::unique_ptr<Stager> CreateHostStager(std::size_t slots, std::size_t slot_bytes, bool own_thread) {
  return std::make_unique<HostStager>(slots, slot_bytes, own_thread);
}

FreeSlots::FreeSlots(std::size_t slots) : slots_(slots) {
  for (std::size_t slot = slots; slot > 0; --slot) free_.emplace_back(static_cast<std::uint32_t>(slot - 1));
}

std::optional<SlotIndex> FreeSlots::Take() {
  if (free_.empty()) return std::nullopt;
  const SlotIndex slot = free_.back();
  free_.pop_back();
  return slot;
}

void FreeSlots::Give(SlotIndex slot) {
  BATON_CHECK(std::ranges::find(free_, slot) == free_.end() && slot.value < slots_, "slot {} given twice",
              slot);
  free_.push_back(slot);
}

}  // namespace baton::kvtransfer
