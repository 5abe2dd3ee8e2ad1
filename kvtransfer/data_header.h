#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/ids.h"

/// The header of a DATA message, the only thing besides KV that the data plane carries. Little-endian:
///   0  u8  version (2)       1  u8  type (1 data, 2 canary)   2  u16 runs, 0 to 16
///   4  u32 sequence          8  u64 transfer id, high         16 u64 transfer id, low
///   24 u64 receiver's incarnation                             32 u32 crc32c, below
///   36 u32 payload bytes     40 runs of 12 bytes: u16 layer, u16 zero, u32 first block, u32 blocks
/// The checksum is that of the header, with zeros in its own place, followed by the payload: a spoilt index
/// is as bad as a spoilt byte. The payload is the runs' bytes in order: of each run, `blocks` consecutive
/// blocks of one layer of the receiver's arena.
namespace baton::kvtransfer {

inline constexpr std::size_t kDataHeaderBytes = 40;
inline constexpr std::size_t kDataRunBytes = 12;
inline constexpr std::size_t kDataRunsMax = 16;
/// A longer payload is refused before anything is received.
inline constexpr std::uint32_t kPayloadBytesMax = 64U << 20;

enum class DataType : std::uint8_t { kData = 1, kCanary = 2 };

/// Consecutive blocks of one layer in the receiver's arena.
struct DataRun {
  std::uint16_t layer = 0;
  BlockRun blocks;
  friend bool operator==(const DataRun&, const DataRun&) = default;
};

struct DataHeader {
  DataType type = DataType::kData;
  std::uint32_t sequence = 0;
  TransferId transfer;
  Incarnation receiver;
  std::uint32_t crc = 0;
  std::uint32_t payload_bytes = 0;
  std::vector<DataRun> runs;
  friend bool operator==(const DataHeader&, const DataHeader&) = default;
};

[[nodiscard]] std::string EncodeDataHeader(const DataHeader& header);
/// The header's share of the checksum; continue it with `Crc32c` over the payload.
[[nodiscard]] std::uint32_t BeginChecksum(const DataHeader& header);
/// InvalidArgument where `bytes` is no header: wrong version, type, length, run count or payload length.
[[nodiscard]] absl::StatusOr<DataHeader> DecodeDataHeader(std::span<const std::byte> bytes);

}  // namespace baton::kvtransfer
