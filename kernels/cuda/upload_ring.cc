#include "kernels/cuda/upload_ring.h"

#include <cstring>

#include "common/base/check.h"

namespace baton::kernels::cuda {

UploadRing::Place UploadRing::Put(std::span<const std::byte> bytes) {
  for (const Kept& kept : kept_) {
    if (kept.bytes == bytes.size() &&
        std::memcmp(pinned_.data() + kept.offset, bytes.data(), bytes.size()) == 0) {
      return {.offset = kept.offset};
    }
  }
  BATON_CHECK(HasRoom(1, bytes.size()), "{} bytes for {} of {}", bytes.size(), used_, pinned_.size());
  const std::size_t offset = used_;
  if (!bytes.empty()) std::memcpy(pinned_.data() + offset, bytes.data(), bytes.size());
  used_ += (bytes.size() + kAlignment - 1) / kAlignment * kAlignment;
  const Kept kept{.offset = offset, .bytes = bytes.size()};
  if (kept_.size() < kKeptMax) {
    kept_.push_back(kept);
  } else {
    kept_[next_] = kept;
    next_ = (next_ + 1) % kKeptMax;
  }
  return {.offset = offset, .copied = true};
}

void UploadRing::Restart() {
  used_ = 0;
  next_ = 0;
  kept_.clear();
}

}  // namespace baton::kernels::cuda
