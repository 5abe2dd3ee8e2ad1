#include "tests/kernels/cuda/emulated_device.h"

#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "tests/kernels/cuda/emulated_words.h"

namespace baton::kernels::cuda::emulated {
namespace {

/// Of all of a device apart: weights, activations and KV of a small model.
constexpr std::size_t kApartBytes = std::size_t{1} << 30;

void Free(MemoryRegion region) {
  std::free(region.address);
}
void Leave(MemoryRegion) {}  // goes with its device

Buffer Zeroed(std::size_t bytes, MemoryKind kind) {
  constexpr std::size_t kAlignment = 256;
  void* address = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
  BATON_CHECK(address != nullptr);
  std::memset(address, 0, bytes);
  return Buffer({.address = static_cast<std::byte*>(address), .bytes = bytes, .kind = kind}, Free);
}

void CopyNow(void* to, const void* from, std::size_t bytes) {
  const DeviceAccess access;
  std::memcpy(to, from, bytes);
}

class EmulatedGraph final : public Graph {
 public:
  explicit EmulatedGraph(Waiting work) : work_(std::move(work)) {}
  [[nodiscard]] const Waiting& Work() const { return work_; }

 private:
  const Waiting work_;
};

class EmulatedSideQueue final : public SideQueue {
 public:
  Queue Handle() override { return nullptr; }
  void Copy(void* to, const void* from, std::size_t bytes) override { CopyNow(to, from, bytes); }
  absl::Status Synchronize() override { return absl::OkStatus(); }
};

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(const DeviceOptions& options)
      : facts_{.name = "emulated",
               .architecture = options.architecture,
               .processors = options.processors,
               .fp8 = options.fp8},
        deeds_(options.deeds != nullptr ? options.deeds : std::make_shared<Deeds>()),
        memory_(options.apart ? std::make_unique<DeviceMemory>(kApartBytes) : nullptr) {}
  const DeviceFacts& Facts() const override { return facts_; }
  const Launches& Kernels() const override { return kEmulatedLaunches; }
  Queue MainQueue() override { return capturing_ ? &captured_ : Late() ? &waiting_ : nullptr; }
  void EnterThread() override {}
  absl::StatusOr<Buffer> Allocate(std::size_t bytes) override {
    if (memory_ == nullptr) return Zeroed(bytes, MemoryKind::kDevice);
    return Buffer({.address = memory_->Take(bytes), .bytes = bytes, .kind = MemoryKind::kDevice}, Leave);
  }
  absl::StatusOr<Buffer> AllocatePinned(std::size_t bytes) override {
    return Zeroed(bytes, MemoryKind::kPinned);
  }
  void Copy(void* to, const void* from, std::size_t bytes) override {
    auto* queue = static_cast<Waiting*>(MainQueue());
    if (queue == nullptr) return CopyNow(to, from, bytes);
    const auto* source = static_cast<const std::byte*>(from);
    if (capturing_ || memory_->Holds(source)) return queue->push_back([=] { CopyNow(to, from, bytes); });
    // Host memory may not be pinned: it is read at once.
    auto read = std::make_shared<std::vector<std::byte>>(source, source + bytes);
    queue->push_back([=] { CopyNow(to, read->data(), bytes); });
  }
  absl::Status Synchronize() override {
    RunAll();
    return absl::OkStatus();
  }

  void Record(std::size_t event) override {
    if (happened_.size() <= event) happened_.resize(event + 1);
    happened_[event] = !Late();
    if (!Late()) return;
    waiting_.push_back([this, event] { happened_[event] = true; });
  }
  bool Happened(std::size_t event) override { return happened_.at(event); }
  void Await(std::size_t event) override {
    deeds_->waited += happened_.at(event) ? 0 : 1;
    std::size_t done = 0;
    while (!happened_.at(event)) waiting_.at(done++)();
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(done));
  }

  void BeginCapture() override {
    BATON_CHECK(!std::exchange(capturing_, true));
    captured_.clear();
  }
  absl::StatusOr<std::unique_ptr<Graph>> EndCapture() override {
    BATON_CHECK(std::exchange(capturing_, false));
    ++deeds_->captured;
    return std::make_unique<EmulatedGraph>(std::exchange(captured_, {}));
  }
  void Enqueue(const Graph& graph) override {
    ++deeds_->replayed;
    const Waiting& work = static_cast<const EmulatedGraph&>(graph).Work();
    if (Late()) {
      waiting_.insert(waiting_.end(), work.begin(), work.end());
    } else {
      for (const auto& one : work) one();
    }
  }
  absl::StatusOr<std::unique_ptr<SideQueue>> CreateSideQueue() override {
    return std::make_unique<EmulatedSideQueue>();
  }

 private:
  [[nodiscard]] bool Late() const { return memory_ != nullptr; }
  void RunAll() {
    for (const auto& work : std::exchange(waiting_, {})) work();
  }

  const DeviceFacts facts_;
  const std::shared_ptr<Deeds> deeds_;
  const std::unique_ptr<DeviceMemory> memory_;
  Waiting waiting_;   // of the main queue
  Waiting captured_;  // since BeginCapture
  bool capturing_ = false;
  std::vector<bool> happened_;
};

}  // namespace

std::unique_ptr<Device> CreateDevice(const DeviceOptions& options) {
  return std::make_unique<EmulatedDevice>(options);
}

}  // namespace baton::kernels::cuda::emulated
