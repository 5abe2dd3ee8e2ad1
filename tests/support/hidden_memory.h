#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <thread>

#include "common/base/check.h"
#include "common/base/device_copier.h"
#include "common/base/error.h"
#include "common/base/memory_region.h"
#include "common/base/mutex.h"

namespace baton::test {

/// Memory that lies in a device, as far as the host can tell: the addresses that it gives out cannot be read
/// or written (a fault ends the test), and its copier is the only way to the bytes. A test sees them by a
/// second mapping. The copier insists on host memory that it allocated itself.
class HiddenMemory final : public DeviceCopier {
 public:
  explicit HiddenMemory(std::size_t bytes) : bytes_(bytes) {
    const int file = memfd_create("hidden", MFD_CLOEXEC);
    BATON_CHECK(file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0);
    hidden_ = static_cast<std::byte*>(mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, file, 0));
    seen_ = static_cast<std::byte*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    BATON_CHECK(hidden_ != MAP_FAILED && seen_ != MAP_FAILED);
    close(file);
  }
  ~HiddenMemory() override {
    munmap(hidden_, bytes_);
    munmap(seen_, bytes_);
  }
  HiddenMemory(const HiddenMemory&) = delete;
  HiddenMemory& operator=(const HiddenMemory&) = delete;

  [[nodiscard]] MemoryRegion Region() const {
    return {.address = hidden_, .bytes = bytes_, .kind = MemoryKind::kDevice};
  }
  [[nodiscard]] std::span<std::byte> Seen() const { return {seen_, bytes_}; }
  [[nodiscard]] bool Holds(const std::byte* address) const {
    return address >= hidden_ && address < hidden_ + bytes_;
  }
  [[nodiscard]] std::byte* Seen(const std::byte* hidden) const {
    BATON_CHECK(Holds(hidden), "{} is not in the device", fmt::ptr(hidden));
    return seen_ + (hidden - hidden_);
  }
  /// From now on every copy fails, as on a lost GPU.
  void Break() { broken_ = true; }
  [[nodiscard]] std::size_t Gathers() const { return gathers_; }
  [[nodiscard]] std::size_t Scatters() const { return scatters_; }
  [[nodiscard]] std::size_t HostBytes() const { return host_->bytes; }

  absl::StatusOr<std::shared_ptr<std::byte>> AllocateHost(std::size_t bytes) override {
    const MutexLock lock(host_->mutex);
    BATON_CHECK(host_->count < host_->areas.size());
    const std::shared_ptr<std::byte[]> owned = std::make_unique_for_overwrite<std::byte[]>(bytes);
    host_->areas[host_->count++] = {owned.get(), bytes};
    host_->bytes += bytes;
    return std::shared_ptr<std::byte>(owned.get(), [host = host_, owned](const std::byte* freed) {
      const MutexLock inner(host->mutex);
      for (auto& one : host->areas) {
        if (one.data() == freed) one = {};
      }
    });
  }
  absl::Status Gather(std::span<const Piece> pieces, std::byte* host) override {
    ++gathers_;
    for (const Piece& piece : pieces) {
      CheckHost(host + piece.at, piece.bytes);
      std::memcpy(host + piece.at, Inside(piece.address, piece.bytes), piece.bytes);
    }
    return Health();
  }
  absl::Status Scatter(const std::byte* host, std::span<const Piece> pieces) override {
    ++scatters_;
    for (const Piece& piece : pieces) {
      CheckHost(host + piece.at, piece.bytes);
      std::memcpy(Inside(piece.address, piece.bytes), host + piece.at, piece.bytes);
    }
    return Health();
  }
  void EnterThread() override {
    const MutexLock lock(host_->mutex);
    host_->entered.insert(std::this_thread::get_id());
  }
  /// Threads that have entered the device.
  [[nodiscard]] std::size_t Entered() const {
    const MutexLock lock(host_->mutex);
    return host_->entered.size();
  }
  absl::Status CopyWithin(std::span<const Move> moves) override {
    for (const Move& move : moves)
      std::memcpy(Inside(move.to, move.bytes), Inside(move.from, move.bytes), move.bytes);
    return Health();
  }

 private:
  struct Host {
    Mutex mutex;
    std::array<std::span<std::byte>, 64> areas;  // guarded by mutex
    std::size_t count = 0;
    std::set<std::thread::id> entered;
    std::atomic<std::size_t> bytes = 0;
  };
  [[nodiscard]] std::byte* Inside(const std::byte* hidden, std::size_t bytes) const {
    std::byte* at = Seen(hidden);
    BATON_CHECK(bytes <= static_cast<std::size_t>(seen_ + bytes_ - at), "{} bytes run out of the device",
                bytes);
    return at;
  }
  void CheckHost(const std::byte* at, std::size_t bytes) const {
    const MutexLock lock(host_->mutex);
    for (const std::span<std::byte> area : host_->areas) {
      if (at >= area.data() && at + bytes <= area.data() + area.size()) return;
    }
    BATON_CHECK(false, "{} is not memory of AllocateHost", fmt::ptr(at));
  }
  [[nodiscard]] absl::Status Health() const {
    return broken_ ? Error(kInternal, "the device is lost") : absl::OkStatus();
  }

  const std::size_t bytes_;
  std::byte* hidden_ = nullptr;
  std::byte* seen_ = nullptr;
  std::shared_ptr<Host> host_ = std::make_shared<Host>();
  std::atomic<bool> broken_ = false;
  std::atomic<std::size_t> gathers_ = 0;
  std::atomic<std::size_t> scatters_ = 0;
};

}  // namespace baton::test
