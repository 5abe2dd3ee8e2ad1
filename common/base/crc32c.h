#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace baton {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `data`, continued from `crc` (0 to begin). Uses the
/// processor's instruction where it has one. `Crc32c(b, Crc32c(a))` is the checksum of a followed by b.
[[nodiscard]] std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t crc = 0);

/// Copies `from` to `to`, which has room for it, and returns `Crc32c(from, crc)`: both while a piece is in
/// the nearest cache.
[[nodiscard]] std::uint32_t CopyCrc32c(std::span<const std::byte> from, std::byte* to, std::uint32_t crc = 0);

/// `Crc32c` by table, on any processor: what the fast ones are compared with.
[[nodiscard]] std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t crc = 0);

}  // namespace baton
