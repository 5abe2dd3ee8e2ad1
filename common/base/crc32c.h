#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace baton {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `data`, continued from `crc` (0 to begin). Uses the
/// processor's instruction where it has one. `Crc32c(b, Crc32c(a))` is the checksum of a followed by b.
[[nodiscard]] std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t crc = 0);

/// The same by table, on any processor: what the fast one is compared with.
[[nodiscard]] std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t crc = 0);

}  // namespace baton
