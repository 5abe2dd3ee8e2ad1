#pragma once

#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/memory_region.h"

/// Which processors threads run on and which NUMA node memory lies on: thin covers of the system's calls.
namespace baton::kernels::cpu {

/// Where a backend's threads and memory are.
struct Placement {
  std::vector<int> cores;     // one a thread, thread 0 (who calls) first; empty: threads go where they like
  int numa_node = -1;         // of the memory; -1: where it is first touched
  bool must_be_there = true;  // else: rather there than elsewhere
};

/// Processors that the calling thread may run on, ascending.
[[nodiscard]] std::vector<int> UsableCores();

/// What `cores` (empty: all of the node, or any) and `numa_node` (-1: that of the cores, where they share
/// one) mean on this machine. InvalidArgument where a core or node does not exist, is named twice or is
/// outside of what the process may use; the message lists what it may.
[[nodiscard]] absl::StatusOr<Placement> Place(const std::vector<int>& cores, int numa_node);

/// Moves the calling thread onto `core`. A core that has been taken from the process since it was checked is
/// left alone.
void PinThisThread(int core);

/// Sets where the pages of `region` (whole pages, untouched) will lie. Without NUMA in the kernel: nothing.
void BindMemory(MemoryRegion region, const Placement& placement);

}  // namespace baton::kernels::cpu
