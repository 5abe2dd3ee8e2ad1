#include "kvtransfer/memory_path.h"

#include <catch2/catch.hpp>

namespace baton::kvtransfer {
namespace {

TEST_CASE("host memory is sent from where it lies, unless the receiver wants it otherwise") {
  for (const MemoryKind kind : {MemoryKind::kHost, MemoryKind::kPinned}) {
    for (const bool checksum : {true, false}) {
      CHECK(PathFrom({.kind = kind, .checksum = checksum}) == MemoryPath::kInPlace);
      CHECK(PathFrom({.kind = kind, .checksum = checksum, .alike = false}) == MemoryPath::kStaged);
    }
  }
}

TEST_CASE(
    "a GPU's memory is sent in place only by a transport that reads it, and where nobody checks the bytes") {
  const MemoryFacts gpu{.kind = MemoryKind::kDevice, .transport_reads_device = true, .checksum = false};
  MemoryFacts blind = gpu;
  blind.transport_reads_device = false;
  MemoryFacts checked = gpu;
  checked.checksum = true;
  MemoryFacts converted = gpu;
  converted.alike = false;

  CHECK(PathFrom(gpu) == MemoryPath::kInPlace);
  CHECK(PathFrom(blind) == MemoryPath::kStaged);
  CHECK(PathFrom(checked) == MemoryPath::kStaged);
  CHECK(PathFrom(converted) == MemoryPath::kStaged);
  CHECK(PathFrom({.kind = MemoryKind::kDevice}) == MemoryPath::kStaged);
}

}  // namespace
}  // namespace baton::kvtransfer
