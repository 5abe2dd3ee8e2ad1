#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace baton::kernels {

/// A backend that the conformance tests run on. A new device adds its cases to `BackendCases` and nothing
/// else.
struct BackendCase {
  std::string name;  // "cpu/avx2/f32, 2 threads"
  std::function<std::unique_ptr<Backend>()> make;
};

/// Every backend of this build on this machine: for the CPU each instruction set, both compute classes, 1 to
/// 3 threads.
[[nodiscard]] const std::vector<BackendCase>& BackendCases();

/// The same, in groups of one numerics class: what they compute must agree to the bit.
[[nodiscard]] std::vector<std::vector<BackendCase>> NumericsClasses();

}  // namespace baton::kernels
