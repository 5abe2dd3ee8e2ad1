#pragma once

#include <string_view>

#include "common/base/memory_region.h"

namespace baton::kvtransfer {

/// How a message leaves the memory where KV lies.
enum class MemoryPath {
  kInPlace,  // the transport reads the blocks
  kStaged,   // through a slot of host memory
};
[[nodiscard]] std::string_view Name(MemoryPath path);

/// What decides.
struct MemoryFacts {
  MemoryKind kind = MemoryKind::kHost;
  bool transport_reads_device = false;  // it says so and has proved it (device_read_proof.h)
  bool checksum = true;                 // computed by the host, which must then read the bytes
  bool alike = true;                    // the receiver's KV lies as the sender's does
};
/// Of a sender: pure. A receiver stages whatever its transport can do, since it verifies before the blocks
/// are written.
[[nodiscard]] MemoryPath PathFrom(const MemoryFacts& facts);

}  // namespace baton::kvtransfer
