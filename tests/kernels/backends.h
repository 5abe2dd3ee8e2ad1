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

/// Every backend of this build on this machine: for the CPU each instruction set, all compute classes, 1 to
/// 3 threads; CUDA's kernels emulated on the host, where the build can; a GPU, where there is one.
[[nodiscard]] const std::vector<BackendCase>& BackendCases();

/// The same, in groups of one numerics class: what they compute must agree to the bit.
[[nodiscard]] std::vector<std::vector<BackendCase>> NumericsClasses();

/// CUDA's kernels emulated by the host. None where the build cannot (another processor, sanitizers).
[[nodiscard]] std::vector<BackendCase> EmulatedCases();

/// A real GPU. None where there is none; `why_none` then says why, and a test says it aloud.
[[nodiscard]] std::vector<BackendCase> GpuCases(std::string* why_none = nullptr);

}  // namespace baton::kernels
