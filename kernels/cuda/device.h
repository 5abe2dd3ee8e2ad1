#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "kernels/backend.h"
#include "kernels/cuda/launches.h"

namespace baton::kernels::cuda {

struct DeviceFacts {
  std::string name;          // "NVIDIA H200"
  std::string architecture;  // "sm90": part of the numerics class
  int index = 0;
  int processors = 1;                    // multiprocessors
  int shared_bytes = kBlockSharedBytes;  // of a block, at most
  bool fp8 = false;                      // its tensor cores multiply 8-bit floats
};

/// A queue beside the main one, for copies while that one computes. One thread at a time, any; what it
/// launches goes to this device once it has asked for the handle.
class SideQueue {
 public:
  virtual ~SideQueue() = default;
  [[nodiscard]] virtual Queue Handle() = 0;
  virtual void Copy(void* to, const void* from, std::size_t bytes) = 0;
  /// Waits for all that is in this queue.
  [[nodiscard]] virtual absl::Status Synchronize() = 0;
};

/// Work of the main queue that is enqueued as one.
class Graph {
 public:
  virtual ~Graph() = default;
};

/// What the backend needs of a GPU: memory, a queue in which copies and kernels run in order, and the
/// kernels. One thread at a time.
class Device {
 public:
  virtual ~Device() = default;
  [[nodiscard]] virtual const DeviceFacts& Facts() const = 0;
  [[nodiscard]] virtual const Launches& Kernels() const = 0;
  /// What this thread then launches goes to this device.
  [[nodiscard]] virtual Queue MainQueue() = 0;
  /// Operations from this thread go to this device.
  virtual void EnterThread() = 0;
  /// Zeroed memory of the device, 256-byte aligned. ResourceExhausted names the size.
  [[nodiscard]] virtual absl::StatusOr<Buffer> Allocate(std::size_t bytes) = 0;
  /// Zeroed host memory that the device copies from and to at full speed.
  [[nodiscard]] virtual absl::StatusOr<Buffer> AllocatePinned(std::size_t bytes) = 0;
  /// In the queue's order; either side may be the device's or the host's. Host memory that is not pinned is
  /// read before it returns.
  virtual void Copy(void* to, const void* from, std::size_t bytes) = 0;
  /// Waits for all that is in the queue. An error is the first that any of it had; after one the device
  /// computes no more.
  [[nodiscard]] virtual absl::Status Synchronize() = 0;

  /// Event `event` (numbers from 0, as many as are used at a time) happens when the main queue has come here.
  virtual void Record(std::size_t event) = 0;
  [[nodiscard]] virtual bool Happened(std::size_t event) = 0;
  /// An error waits for Synchronize.
  virtual void Await(std::size_t event) = 0;

  /// What is enqueued from here on does not run but becomes a graph. Copies are then between pinned memory
  /// and the device's alone, and read the pinned memory each time that the graph runs.
  virtual void BeginCapture() = 0;
  /// An error, after which nothing of it has run, says why there is no graph.
  [[nodiscard]] virtual absl::StatusOr<std::unique_ptr<Graph>> EndCapture() = 0;
  virtual void Enqueue(const Graph& graph) = 0;

  /// May outlive the device.
  [[nodiscard]] virtual absl::StatusOr<std::unique_ptr<SideQueue>> CreateSideQueue() = 0;
};

/// A device that this backend can use, which is not opened. FailedPrecondition where there is no driver or no
/// such device, or the build has no CUDA; the message says which.
[[nodiscard]] absl::StatusOr<DeviceFacts> FindDevice(int index);
/// The same, and opens it.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Device>> OpenDevice(int index);

/// FailedPrecondition where a block of the device's has less shared memory than kernels take.
[[nodiscard]] absl::Status HasSharedMemory(const DeviceFacts& device);
/// FailedPrecondition where the device multiplies no fp8.
[[nodiscard]] absl::Status HasFp8(const DeviceFacts& device);

/// The device of a CUDA backend; null: it is another one.
[[nodiscard]] Device* DeviceOf(Backend& backend);

}  // namespace baton::kernels::cuda
