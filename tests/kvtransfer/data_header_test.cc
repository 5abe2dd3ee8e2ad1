#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kvtransfer/data_header.h"

namespace baton::kvtransfer {
namespace {

DataHeader Sample() {
  return {.type = DataType::kData,
          .sequence = 0x01020304,
          .transfer = {.high = 0x1122334455667788, .low = 0x99aabbccddeeff00},
          .receiver = Incarnation(0xcafe),
          .crc = 0xdeadbeef,
          .payload_bytes = 4096,
          .runs = {{.layer = 3, .blocks = {.first = BlockIndex(17), .count = 2}},
                   {.layer = 4, .blocks = {.first = BlockIndex(99), .count = 1}}}};
}

absl::StatusOr<DataHeader> Decode(const std::string& bytes) {
  return DecodeDataHeader(std::as_bytes(std::span(bytes)));
}

TEST_CASE("a data header is the same after encoding and decoding") {
  const auto decoded = Decode(EncodeDataHeader(Sample()));

  REQUIRE(decoded.ok());
  CHECK(*decoded == Sample());
}

TEST_CASE("a data header has the documented bytes") {
  const std::string bytes = EncodeDataHeader(Sample());

  REQUIRE(bytes.size() == 40 + 2 * 12);
  CHECK(bytes.substr(0, 8) == std::string("\x02\x01\x02\x00\x04\x03\x02\x01", 8));
  CHECK(static_cast<unsigned char>(bytes[8]) == 0x88);
  CHECK(static_cast<unsigned char>(bytes[32]) == 0xef);
  CHECK(bytes.substr(40, 12) == std::string("\x03\0\0\0\x11\0\0\0\x02\0\0\0", 12));
}

TEST_CASE("a data header of every wrong length is refused") {
  const std::string bytes = EncodeDataHeader(Sample());

  for (std::size_t length = 0; length < bytes.size(); ++length)
    CHECK_FALSE(Decode(bytes.substr(0, length)).ok());
  CHECK_FALSE(Decode(bytes + '\0').ok());
}

TEST_CASE("a data header that lies in a field is refused") {
  const auto with = [](std::size_t at, char value) {
    std::string bytes = EncodeDataHeader(Sample());
    bytes[at] = value;
    return Decode(bytes).status();
  };

  CHECK(Message(with(0, 9)).find("version 9") != std::string::npos);
  CHECK(Message(with(1, 7)).find("unknown type 7") != std::string::npos);
  CHECK_FALSE(with(2, 17).ok());
  CHECK_FALSE(with(39, 0x7f).ok());
  CHECK_FALSE(with(42, 1).ok());
}

TEST_CASE("the checksum begins with the header: another index, another checksum") {
  DataHeader header = Sample();
  const std::uint32_t before = BeginChecksum(header);
  header.crc = 1;
  CHECK(BeginChecksum(header) == before);  // its own place counts as zeros

  header.runs[0].blocks.first = BlockIndex(header.runs[0].blocks.first.value + 1);

  CHECK(BeginChecksum(header) != before);
}

}  // namespace
}  // namespace baton::kvtransfer
