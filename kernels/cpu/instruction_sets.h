#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "kernels/cpu/inner_kernels.h"

namespace baton::kernels::cpu {

/// The kernels called `name`, or the best ones for "auto". InvalidArgument lists those of this processor.
[[nodiscard]] absl::StatusOr<const InnerKernels*> FindKernels(const std::string& name);

}  // namespace baton::kernels::cpu
