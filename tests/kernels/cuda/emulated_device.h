#pragma once

#include <memory>

#include "kernels/cuda/device.h"

namespace baton::kernels::cuda::emulated {

extern const Launches kEmulatedLaunches;

/// A device whose kernels the host emulates and whose memory is the host's. `processors` is what plans go by:
/// with more of them work is cut finer.
[[nodiscard]] std::unique_ptr<Device> CreateDevice(int processors);

}  // namespace baton::kernels::cuda::emulated
