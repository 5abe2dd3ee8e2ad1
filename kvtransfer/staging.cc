#include "kvtransfer/staging.h"

#include <algorithm>
#include <cstring>
#include <future>

#include "common/base/check.h"
#include "common/base/error.h"
#include "kvtransfer/work_thread.h"

namespace baton::kvtransfer {
namespace {

/// What a job takes of host memory for a message in another type: int8 of f32 at most.
constexpr std::size_t kWidestRatio = 4;

std::size_t Covered(const StageJob& job) {
  std::size_t covered = 0;
  for (const StageJob::Piece& piece : job.pieces) covered += RowBytes(job.to, piece.count);
  return covered;
}

/// Makes messages of KV in host memory.
void MakeOnHost(const StageJob& job, std::span<std::byte> out) {
  if (Covered(job) < out.size()) std::memset(out.data(), 0, out.size());
  for (const StageJob::Piece& piece : job.pieces) {
    ConvertRow(job.from, {piece.source, RowBytes(job.from, piece.count)}, job.to,
               out.subspan(piece.at, RowBytes(job.to, piece.count)), piece.count);
  }
}

/// Makes messages of KV in a device's memory: as it is right in the slot, else beside it, from where it is
/// converted.
class DeviceMaker {
 public:
  DeviceMaker(std::shared_ptr<DeviceCopier> copier, std::shared_ptr<std::byte> beside, std::size_t bytes)
      : copier_(std::move(copier)), beside_(std::move(beside)), beside_bytes_(bytes) {}

  absl::Status Make(const StageJob& job, std::span<std::byte> out) {
    if (Covered(job) < out.size()) std::memset(out.data(), 0, out.size());
    const bool converts = job.from != job.to;
    std::vector<DeviceCopier::Piece> pieces;
    std::size_t beside = 0;
    for (const StageJob::Piece& piece : job.pieces) {
      const std::size_t bytes = RowBytes(job.from, piece.count);
      // The copier also writes there; this side only reads.
      pieces.push_back({.address = const_cast<std::byte*>(piece.source),
                        .at = converts ? beside : piece.at,
                        .bytes = bytes});
      beside += bytes;
    }
    if (!converts) return copier_->Gather(pieces, out.data());
    BATON_CHECK(beside <= beside_bytes_, "{} bytes of KV for a message of {}", beside, out.size());
    BATON_RETURN_IF_ERROR(copier_->Gather(pieces, beside_.get()));
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const StageJob::Piece& piece = job.pieces[i];
      ConvertRow(job.from, {beside_.get() + pieces[i].at, pieces[i].bytes}, job.to,
                 out.subspan(piece.at, RowBytes(job.to, piece.count)), piece.count);
    }
    return absl::OkStatus();
  }

 private:
  std::shared_ptr<DeviceCopier> copier_;
  std::shared_ptr<std::byte> beside_;
  std::size_t beside_bytes_;
};

class SlotStager final : public Stager {
 public:
  using Maker = std::function<absl::Status(const StageJob& job, std::span<std::byte> out)>;
  SlotStager(std::shared_ptr<std::byte> memory, std::size_t slots, std::size_t slot_bytes, Maker make,
             bool own_thread)
      : slots_(slots),
        slot_bytes_(slot_bytes),
        memory_(std::move(memory)),
        make_(std::move(make)),
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
    if (thread_ == nullptr) return done(make_(job, out));
    thread_->Post([this, job = std::move(job), out, done = std::move(done)] { done(make_(job, out)); });
  }
  void Finish() override {
    if (thread_ == nullptr) return;
    std::promise<void> done;
    thread_->Post([&done] { done.set_value(); });
    done.get_future().wait();
  }

 private:
  const std::size_t slots_;
  const std::size_t slot_bytes_;
  const std::shared_ptr<std::byte> memory_;
  const Maker make_;
  const std::unique_ptr<WorkThread> thread_;  // last: its work uses the above
};

}  // namespace

std::unique_ptr<Stager> CreateHostStager(std::size_t slots, std::size_t slot_bytes, bool own_thread) {
  const std::shared_ptr<std::byte[]> memory = std::make_unique_for_overwrite<std::byte[]>(slots * slot_bytes);
  return std::make_unique<SlotStager>(
      std::shared_ptr<std::byte>(memory, memory.get()), slots, slot_bytes,
      [](const StageJob& job, std::span<std::byte> out) {
        MakeOnHost(job, out);
        return absl::OkStatus();
      },
      own_thread);
}

absl::StatusOr<std::unique_ptr<Stager>> CreateDeviceStager(std::shared_ptr<DeviceCopier> copier,
                                                           std::size_t slots, std::size_t slot_bytes) {
  const std::size_t beside_bytes = kWidestRatio * slot_bytes;
  BATON_ASSIGN_OR_RETURN(auto memory, copier->AllocateHost(slots * slot_bytes));
  BATON_ASSIGN_OR_RETURN(auto beside, copier->AllocateHost(beside_bytes));
  auto maker = std::make_shared<DeviceMaker>(std::move(copier), std::move(beside), beside_bytes);
  return std::make_unique<SlotStager>(
      std::move(memory), slots, slot_bytes,
      [maker](const StageJob& job, std::span<std::byte> out) { return maker->Make(job, out); },
      /*own_thread=*/true);
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
