#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace baton::kernels::cuda {

/// Where the small arrays of a step's operations lie in a pinned area and in its twin on the device. Places
/// are handed out one after another until the queue is known to be empty; then all are free again. An array
/// that is there already, as the positions and block tables of a step are after its first layer, is found by
/// its content. Owns no memory.
class UploadRing {
 public:
  static constexpr std::size_t kAlignment = 256;
  explicit UploadRing(std::span<std::byte> pinned) : pinned_(pinned) {}

  /// That so many arrays of so many bytes in all can be placed without `Restart`.
  [[nodiscard]] bool HasRoom(std::size_t arrays, std::size_t bytes) const {
    return used_ + bytes + arrays * kAlignment <= pinned_.size();
  }
  struct Place {
    std::size_t offset = 0;
    bool copied = false;  // to the pinned area, now: the device's twin is to follow
  };
  /// There must be room.
  Place Put(std::span<const std::byte> bytes);
  /// The device has read all that was placed.
  void Restart();
  [[nodiscard]] std::size_t Capacity() const { return pinned_.size(); }

 private:
  struct Kept {
    std::size_t offset;
    std::size_t bytes;
  };
  /// Arrays that are looked through: an attention layer has about ten.
  static constexpr std::size_t kKeptMax = 16;

  std::span<std::byte> pinned_;
  std::size_t used_ = 0;
  std::vector<Kept> kept_;  // the last ones
  std::size_t next_ = 0;    // of `kept_`, to be replaced
};

}  // namespace baton::kernels::cuda
