#include "kvtransfer/memory_path.h"

namespace baton::kvtransfer {

std::string_view Name(MemoryPath path) {
  return path == MemoryPath::kInPlace ? "in place" : "staged";
}

MemoryPath PathFrom(const MemoryFacts& facts) {
  if (!facts.alike) return MemoryPath::kStaged;
  if (facts.kind != MemoryKind::kDevice) return MemoryPath::kInPlace;
  return facts.transport_reads_device && !facts.checksum ? MemoryPath::kInPlace : MemoryPath::kStaged;
}

}  // namespace baton::kvtransfer
