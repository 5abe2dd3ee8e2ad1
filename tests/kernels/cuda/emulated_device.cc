#include "tests/kernels/cuda/emulated_device.h"

#include <cstdlib>
#include <cstring>

#include "common/base/check.h"

namespace baton::kernels::cuda::emulated {
namespace {

void Free(MemoryRegion region) {
  std::free(region.address);
}

Buffer Zeroed(std::size_t bytes, MemoryKind kind) {
  constexpr std::size_t kAlignment = 256;
  void* address = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
  BATON_CHECK(address != nullptr);
  std::memset(address, 0, bytes);
  return Buffer({.address = static_cast<std::byte*>(address), .bytes = bytes, .kind = kind}, Free);
}

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(int processors)
      : facts_{.name = "emulated", .architecture = "emulated", .processors = processors} {}
  const DeviceFacts& Facts() const override { return facts_; }
  const Launches& Kernels() const override { return kEmulatedLaunches; }
  Queue MainQueue() const override { return nullptr; }
  void EnterThread() override {}
  absl::StatusOr<Buffer> Allocate(std::size_t bytes) override { return Zeroed(bytes, MemoryKind::kDevice); }
  absl::StatusOr<Buffer> AllocatePinned(std::size_t bytes) override {
    return Zeroed(bytes, MemoryKind::kPinned);
  }
  void Copy(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  absl::Status Synchronize() override { return absl::OkStatus(); }

 private:
  const DeviceFacts facts_;
};

}  // namespace

std::unique_ptr<Device> CreateDevice(int processors) {
  return std::make_unique<EmulatedDevice>(processors);
}

}  // namespace baton::kernels::cuda::emulated
