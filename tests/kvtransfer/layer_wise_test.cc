#include "kvtransfer/layer_wise.h"

#include <catch2/catch.hpp>

namespace baton::kvtransfer {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("a layer goes early from what takes twice a message's cost on the wire, by the peer's speed") {
  CHECK(LayerWiseBytesMin(1e9, milliseconds(8)) == 200'000);
  CHECK(LayerWiseBytesMin(1e8, milliseconds(8)) == 20'000);
  CHECK(LayerWiseBytesMin(2.5e10, milliseconds(8)) == 5'000'000);
  CHECK(LayerWiseBytesMin(1, milliseconds(8)) == 1);
  CHECK(LayerWiseBytesMin(1e300, milliseconds(8)) == 1ULL << 40);
}

TEST_CASE("a layer that is computed faster than a message is sent goes with the rest") {
  CHECK(LayerWiseBytesMin(1e9, microseconds(200)) == 200'000);
  CHECK(LayerWiseBytesMin(1e9, microseconds(199)) == kNever);
  CHECK(LayerWiseBytesMin(1, Duration::zero()) == kNever);
}

TEST_CASE("until a peer's speed is known the threshold is a fixed one") {
  CHECK(LayerWiseBytesMin(0, milliseconds(8)) == kLayerWiseBytesUnknown);
}

}  // namespace
}  // namespace baton::kvtransfer
