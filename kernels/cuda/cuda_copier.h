#pragma once

#include <memory>

#include <absl/status/statusor.h>

#include "common/base/device_copier.h"
#include "kernels/cuda/device.h"

namespace baton::kernels::cuda {

/// Copies by one kernel a call, which reads and writes pinned host memory itself, on three queues of their
/// own: out, in and within. `AllocateHost` needs the device; all else may outlive it.
[[nodiscard]] absl::StatusOr<std::shared_ptr<DeviceCopier>> CreateCopier(Device& device);

}  // namespace baton::kernels::cuda
