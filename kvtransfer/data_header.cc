#include "kvtransfer/data_header.h"

#include <type_traits>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"

namespace baton::kvtransfer {
namespace {

constexpr std::uint8_t kVersion = 2;  // 1: the checksum was the payload's alone

template <typename T>
void Put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xffU));
  }
}

template <typename T>
T Get(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value |= std::to_integer<std::uint64_t>(bytes[offset + i]) << (8 * i);
  return static_cast<T>(value);
}

}  // namespace

std::string EncodeDataHeader(const DataHeader& header) {
  BATON_CHECK(header.runs.size() <= kDataRunsMax);
  std::string out;
  out.reserve(kDataHeaderBytes + header.runs.size() * kDataRunBytes);
  Put(out, kVersion);
  Put(out, static_cast<std::uint8_t>(header.type));
  Put(out, static_cast<std::uint16_t>(header.runs.size()));
  Put(out, header.sequence);
  Put(out, header.transfer.high);
  Put(out, header.transfer.low);
  Put(out, header.receiver.value);
  Put(out, header.crc);
  Put(out, header.payload_bytes);
  for (const DataRun& run : header.runs) {
    Put(out, run.layer);
    Put(out, std::uint16_t{0});
    Put(out, run.blocks.first.value);
    Put(out, run.blocks.count);
  }
  return out;
}

std::uint32_t BeginChecksum(const DataHeader& header) {
  DataHeader zeroed = header;
  zeroed.crc = 0;
  const std::string bytes = EncodeDataHeader(zeroed);
  return Crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

absl::StatusOr<DataHeader> DecodeDataHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kDataHeaderBytes)
    return Error(kInvalidArgument, "data header of {} bytes is too short", bytes.size());
  const auto version = Get<std::uint8_t>(bytes, 0);
  if (version != kVersion)
    return Error(kInvalidArgument, "data header of version {}, not {}", version, kVersion);
  const auto type = Get<std::uint8_t>(bytes, 1);
  if (type != 1 && type != 2) return Error(kInvalidArgument, "data message of unknown type {}", type);
  const auto runs = Get<std::uint16_t>(bytes, 2);
  if (runs > kDataRunsMax || bytes.size() != kDataHeaderBytes + runs * kDataRunBytes) {
    return Error(kInvalidArgument, "data header of {} bytes says {} runs", bytes.size(), runs);
  }
  DataHeader header;
  header.type = static_cast<DataType>(type);
  header.sequence = Get<std::uint32_t>(bytes, 4);
  header.transfer = {.high = Get<std::uint64_t>(bytes, 8), .low = Get<std::uint64_t>(bytes, 16)};
  header.receiver = Incarnation(Get<std::uint64_t>(bytes, 24));
  header.crc = Get<std::uint32_t>(bytes, 32);
  header.payload_bytes = Get<std::uint32_t>(bytes, 36);
  if (header.payload_bytes > kPayloadBytesMax) {
    return Error(kInvalidArgument, "data message of {} bytes, limit {}", header.payload_bytes,
                 kPayloadBytesMax);
  }
  for (std::size_t i = 0; i < runs; ++i) {
    const std::size_t at = kDataHeaderBytes + i * kDataRunBytes;
    if (Get<std::uint16_t>(bytes, at + 2) != 0)
      return Error(kInvalidArgument, "data run {} has a field that is not zero", i);
    header.runs.push_back({.layer = Get<std::uint16_t>(bytes, at),
                           .blocks = {.first = BlockIndex(Get<std::uint32_t>(bytes, at + 4)),
                                      .count = Get<std::uint32_t>(bytes, at + 8)}});
  }
  return header;
}

}  // namespace baton::kvtransfer
