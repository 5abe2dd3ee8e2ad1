// Linked where the host cannot emulate CUDA's kernels.
#include "tests/kernels/backends.h"

namespace baton::kernels {

std::vector<BackendCase> EmulatedCases() {
  return {};
}

}  // namespace baton::kernels
