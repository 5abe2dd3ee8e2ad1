#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "kvtransfer/data_header.h"
#include "kvtransfer/receive_window.h"

/// Any header of a DATA message: it is refused, or is the only encoding of what was read; and what a window
/// then lets it write lies inside the granted blocks.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton;
  using namespace baton::kvtransfer;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto header = DecodeDataHeader(bytes);
  if (!header.ok()) return 0;
  BATON_CHECK(EncodeDataHeader(*header) == std::string(reinterpret_cast<const char*>(data), size));

  KvLayout layout;
  layout.layers = 2;
  layout.kv_heads = 1;
  layout.head_dim = 2;
  static std::vector<std::byte> memory(2 * 16 * layout.BlockBytes());
  ReceiveWindows windows(
      {.region = {.address = memory.data(), .bytes = memory.size()}, .blocks = 16, .layout = layout});
  const bool converted = header->sequence % 2 == 1;
  ReceiveWindow window{
      .transfer = header->transfer,
      .receiver = header->receiver,
      .blocks = {{.first = BlockIndex(4), .count = 4}, {.first = BlockIndex(12), .count = 2}}};
  if (converted) window.wire = WireFormat{.element = Element::kInt8, .rows = 2, .row_elements = 32};
  windows.Open(window);
  const auto landing = windows.Place(*header);
  if (!landing.ok()) return 0;
  if (converted) {
    BATON_CHECK(landing->places.size() == 1 && landing->places[0].size() == header->payload_bytes);
    BATON_CHECK(landing->Settle().ok());
    return 0;
  }
  std::uint64_t total = 0;
  for (const std::span<std::byte> place : landing->places) {
    const auto offset = static_cast<std::size_t>(place.data() - memory.data());
    BATON_CHECK(place.data() >= memory.data() && offset + place.size() <= memory.size());
    const std::size_t block = offset / layout.BlockBytes() % 16;
    BATON_CHECK((block >= 4 && block < 8) || (block >= 12 && block < 14));
    total += place.size();
  }
  BATON_CHECK(total == header->payload_bytes);
  return 0;
}
