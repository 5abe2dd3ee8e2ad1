#include "common/base/crc32c.h"

#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/random.h"

namespace baton {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

TEST_CASE("crc32c of the standard check string is the published value") {
  CHECK(Crc32c(Bytes("123456789")) == 0xe3069283U);
  CHECK(Crc32cPortable(Bytes("123456789")) == 0xe3069283U);
  CHECK(Crc32c({}) == 0U);
}

TEST_CASE("the fast and the portable crc32c agree on any length, alignment and split") {
  RandomStream random(1);
  std::vector<std::byte> data(30'000);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random.Bits());

  for (int trial = 0; trial < 500; ++trial) {
    const auto first = static_cast<std::size_t>(random.Between(0, 100));
    const auto length = static_cast<std::size_t>(random.Between(0, trial % 2 == 0 ? 2'800 : 29'800));
    const auto cut = static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(length)));
    const std::span<const std::byte> part(data.data() + first, length);
    const std::uint32_t expected = Crc32cPortable(part);

    REQUIRE(Crc32c(part) == expected);
    REQUIRE(Crc32c(part.subspan(cut), Crc32c(part.first(cut))) == expected);
  }
}

TEST_CASE("a copy that is summed has every byte, and the sum of a plain one") {
  RandomStream random(2);
  std::vector<std::byte> data(70'000);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random.Bits());

  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, std::size_t{16'384}, data.size()}) {
    CAPTURE(length);
    const std::span<const std::byte> part = std::span(data).first(length);
    std::vector<std::byte> copy(length + 1);

    CHECK(CopyCrc32c(part, copy.data(), 17) == Crc32cPortable(part, 17));
    CHECK(std::equal(part.begin(), part.end(), copy.begin()));
    CHECK(copy.back() == std::byte{0});
  }
}

TEST_CASE("one flipped bit changes the crc32c") {
  std::vector<std::byte> data(64);
  const std::uint32_t before = Crc32c(data);

  data[40] ^= std::byte{4};

  CHECK(Crc32c(data) != before);
}

}  // namespace baton
