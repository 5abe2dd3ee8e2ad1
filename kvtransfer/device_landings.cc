#include "kvtransfer/device_landings.h"

#include <algorithm>
#include <cstring>

#include "kvtransfer/receive_window.h"
#include "kvtransfer/send_plan.h"

namespace baton::kvtransfer {

absl::StatusOr<std::shared_ptr<DeviceLandings>> DeviceLandings::Create(std::shared_ptr<DeviceCopier> copier,
                                                                       std::uint64_t bytes,
                                                                       std::size_t block_bytes) {
  auto made = std::make_shared<DeviceLandings>(Private{});
  const std::size_t slots = std::max<std::size_t>(1, static_cast<std::size_t>(bytes / kMessageBytesMax));
  made->between_bytes_ = std::max<std::size_t>(kMessageBytesMax, block_bytes);
  made->block_bytes_ = block_bytes;
  for (auto& [memory, size] : {std::pair{&made->slots_, slots * kMessageBytesMax},
                               std::pair{&made->between_, made->between_bytes_}}) {
    auto allocated = copier->AllocateHost(size);
    if (!allocated.ok()) return allocated.status();
    *memory = *std::move(allocated);
  }
  for (std::size_t slot = slots; slot-- > 0;) made->free_.push_back(slot);
  made->copier_ = std::move(copier);
  return made;
}

std::shared_ptr<std::byte> DeviceLandings::Take(std::size_t bytes) {
  if (bytes > kMessageBytesMax) return nullptr;
  const MutexLock lock(mutex_);
  if (free_.empty()) return nullptr;
  const std::size_t slot = free_.back();
  free_.pop_back();
  return {slots_.get() + slot * kMessageBytesMax,
          [self = shared_from_this(), slot](std::byte*) { self->Give(slot); }};
}

void DeviceLandings::Give(std::size_t slot) {
  const MutexLock lock(mutex_);
  free_.push_back(slot);
}

absl::Status DeviceLandings::Settle(const Landing& landing) {
  std::vector<DeviceCopier::Piece> pieces;
  std::size_t at = 0;
  if (landing.slot != nullptr && !landing.wire) {
    for (const std::span<std::byte> target : landing.blocks) {
      pieces.push_back({.address = target.data(), .at = at, .bytes = target.size()});
      at += target.size();
    }
    return copier_->Scatter(landing.slot.get(), pieces);
  }
  const MutexLock lock(between_mutex_);
  const std::size_t wire_bytes = landing.wire ? landing.wire->BlockBytes() : block_bytes_;
  std::span<const std::byte> left = landing.places.front();
  for (std::span<std::byte> target : landing.blocks) {
    while (!target.empty()) {
      const std::size_t blocks = std::min((between_bytes_ - at) / block_bytes_, target.size() / block_bytes_);
      if (blocks == 0) {
        const absl::Status status = copier_->Scatter(between_.get(), pieces);
        if (!status.ok()) return status;
        pieces.clear();
        at = 0;
        continue;
      }
      const std::size_t bytes = blocks * block_bytes_;
      const std::span<std::byte> out(between_.get() + at, bytes);
      if (landing.wire) {
        landing.wire->Unpack(left.first(blocks * wire_bytes), landing.element, out);
      } else {
        std::memcpy(out.data(), left.data(), bytes);
      }
      pieces.push_back({.address = target.data(), .at = at, .bytes = bytes});
      left = left.subspan(blocks * wire_bytes);
      target = target.subspan(bytes);
      at += bytes;
    }
  }
  return copier_->Scatter(between_.get(), pieces);
}

}  // namespace baton::kvtransfer
