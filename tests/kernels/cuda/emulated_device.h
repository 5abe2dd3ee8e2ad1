#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cuda/device.h"

namespace baton::kernels::cuda::emulated {

extern const Launches kEmulatedLaunches;

/// What a device has done; kept by the test.
struct Deeds {
  std::atomic<std::int64_t> captured = 0;  // graphs made
  std::atomic<std::int64_t> replayed = 0;  // and run
  std::atomic<std::int64_t> waited = 0;    // events that had to be waited for
};

struct DeviceOptions {
  /// What plans go by: with more of them work is cut finer.
  int processors = 1;
  /// As a GPU is: the main queue runs when somebody waits for it, and who touches the device's memory while
  /// no kernel runs has a fault.
  bool apart = false;
  std::string architecture = "emulated";
  /// Whether it has fp8.
  bool fp8 = true;
  /// May be null.
  std::shared_ptr<Deeds> deeds = nullptr;
};

/// A device whose kernels the host emulates and whose memory is the host's. Devices apart take turns.
[[nodiscard]] std::unique_ptr<Device> CreateDevice(const DeviceOptions& options);
[[nodiscard]] inline std::unique_ptr<Device> CreateDevice(int processors) {
  return CreateDevice(DeviceOptions{.processors = processors});
}

}  // namespace baton::kernels::cuda::emulated
