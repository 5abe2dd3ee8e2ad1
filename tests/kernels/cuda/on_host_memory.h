#pragma once

#include <memory>

#include "kernels/backend.h"

namespace baton::kernels {

/// A device's backend for tests that have their tensors in host memory: each operation's arguments are copied
/// to the device, and what it writes is copied back. KV memory is the host's, with a twin on the device.
[[nodiscard]] std::unique_ptr<Backend> OnHostMemory(std::unique_ptr<Backend> device);

}  // namespace baton::kernels
