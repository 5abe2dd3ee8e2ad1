#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kvtransfer/receive_window.h"

namespace baton::kvtransfer {
namespace {

constexpr TransferId kTransfer{.high = 1, .low = 2};

struct Fixture {
  std::vector<std::byte> memory = std::vector<std::byte>(2 * 10 * Layout().BlockBytes());
  ReceiveWindows windows{ArenaView{
      .region = {.address = memory.data(), .bytes = memory.size()}, .blocks = 10, .layout = Layout()}};

  Fixture() {
    windows.Open({.transfer = kTransfer,
                  .receiver = Incarnation(7),
                  .blocks = {{.first = BlockIndex(2), .count = 3}, {.first = BlockIndex(8), .count = 1}}});
  }
  static KvLayout Layout() {
    KvLayout layout;
    layout.layers = 2;
    layout.kv_heads = 1;
    layout.head_dim = 2;
    return layout;
  }
  static DataHeader Header(std::uint16_t layer, std::uint32_t first, std::uint32_t count) {
    return {.transfer = kTransfer,
            .receiver = Incarnation(7),
            .payload_bytes = static_cast<std::uint32_t>(count * Layout().BlockBytes()),
            .runs = {{.layer = layer, .blocks = {.first = BlockIndex(first), .count = count}}}};
  }
};

TEST_CASE("data goes where layer and block say, inside the window") {
  Fixture f;

  const auto landing = f.windows.Place(Fixture::Header(1, 3, 2));

  REQUIRE(landing.ok());
  REQUIRE(landing->places.size() == 1);
  CHECK(landing->places[0].data() == f.memory.data() + (10 + 3) * Fixture::Layout().BlockBytes());
  CHECK(landing->places[0].size() == 2 * Fixture::Layout().BlockBytes());
}

TEST_CASE("data outside its window is refused, whatever the header says") {
  Fixture f;
  DataHeader stale = Fixture::Header(0, 2, 1);
  stale.receiver = Incarnation(8);
  DataHeader unknown = Fixture::Header(0, 2, 1);
  unknown.transfer.low = 3;
  DataHeader longer = Fixture::Header(0, 2, 1);
  ++longer.payload_bytes;
  DataHeader nothing = Fixture::Header(0, 2, 1);
  nothing.runs.clear();

  CHECK_FALSE(f.windows.Place(stale).ok());
  CHECK_FALSE(f.windows.Place(unknown).ok());
  CHECK_FALSE(f.windows.Place(longer).ok());
  CHECK_FALSE(f.windows.Place(nothing).ok());
  CHECK_FALSE(f.windows.Place(Fixture::Header(2, 2, 1)).ok());
  CHECK_FALSE(f.windows.Place(Fixture::Header(0, 1, 1)).ok());
  CHECK_FALSE(f.windows.Place(Fixture::Header(0, 4, 2)).ok());
  CHECK_FALSE(f.windows.Place(Fixture::Header(0, 2, 0)).ok());
  CHECK_FALSE(f.windows.Place(Fixture::Header(0, 8, 0xffffffff)).ok());
}

TEST_CASE("a closed window takes nothing, and is drained when its last receive has ended") {
  Fixture f;
  f.windows.Begin(Fixture::Header(0, 2, 1));
  f.windows.Begin(Fixture::Header(0, 3, 1));

  CHECK_FALSE(f.windows.Close(kTransfer));
  CHECK_FALSE(f.windows.Place(Fixture::Header(0, 8, 1)).ok());
  CHECK_FALSE(f.windows.End(kTransfer));
  CHECK(f.windows.End(kTransfer));
}

TEST_CASE("a block that has come is not written again, whatever comes in the same message") {
  Fixture f;
  f.windows.Begin(Fixture::Header(0, 3, 2));

  CHECK(f.windows.Place(Fixture::Header(0, 3, 1)).status().code() == kAlreadyExists);
  CHECK(f.windows.Place(Fixture::Header(0, 2, 2)).status().code() == kAlreadyExists);
  CHECK(f.windows.Place(Fixture::Header(0, 2, 1)).ok());
  CHECK(f.windows.Place(Fixture::Header(1, 3, 2)).ok());
  CHECK(f.windows.Place(Fixture::Header(0, 8, 1)).ok());
}

TEST_CASE("a message that names a block twice is refused") {
  Fixture f;
  DataHeader twice = Fixture::Header(0, 2, 2);
  twice.runs.push_back({.layer = 0, .blocks = {.first = BlockIndex(3), .count = 1}});
  twice.payload_bytes = static_cast<std::uint32_t>(3 * Fixture::Layout().BlockBytes());

  CHECK_FALSE(f.windows.Place(twice).ok());
  twice.runs[1].layer = 1;
  CHECK(f.windows.Place(twice).ok());
}

TEST_CASE("a window without receives is drained as it closes") {
  Fixture f;
  CHECK(f.windows.Close(kTransfer));
}

}  // namespace
}  // namespace baton::kvtransfer
