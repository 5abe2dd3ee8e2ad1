#pragma once

#include <memory>
#include <vector>

#include "common/base/device_copier.h"
#include "common/base/memory_region.h"

namespace baton::engine {

/// Memory of one device, and the way to it.
struct CopierPart {
  MemoryRegion region;
  std::shared_ptr<DeviceCopier> copier;
};
[[nodiscard]] inline bool Holds(const MemoryRegion& region, const std::byte* address) {
  return address >= region.address && address < region.address + region.bytes;
}

/// The ways to several devices as one: a piece goes by that of the memory it lies in, one device after
/// another. The host's memory is the first's, which all of them must reach.
[[nodiscard]] std::shared_ptr<DeviceCopier> JoinCopiers(std::vector<CopierPart> parts);

}  // namespace baton::engine
