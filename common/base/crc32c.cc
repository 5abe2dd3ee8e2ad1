#include "common/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace baton {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // reflected

constexpr std::array<std::uint32_t, 256> MakeTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? (crc >> 1) ^ kPolynomial : crc >> 1;
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = MakeTable();

#if defined(__x86_64__)
/// Bytes of each of the three streams that one round sums side by side: the instruction takes three cycles
/// and can start in each, so that one stream alone leaves two thirds of it idle. A round is a page and a half
/// of L1.
constexpr std::size_t kStreamBytes = 2048;

/// What kStreamBytes zero bytes behind it do to a checksum, by its four bytes: linear, hence a table of each.
using ShiftTable = std::array<std::array<std::uint32_t, 256>, 4>;

ShiftTable MakeShiftTable() {
  ShiftTable table{};
  for (std::size_t byte = 0; byte < 4; ++byte) {
    for (std::size_t bit = 0; bit < 8; ++bit) {
      std::uint32_t crc = 1U << (8 * byte + bit);
      for (std::size_t i = 0; i < kStreamBytes; ++i) crc = kTable[crc & 0xffU] ^ (crc >> 8);
      const std::size_t step = std::size_t{1} << bit;
      for (std::size_t below = 0; below < step; ++below) table[byte][step + below] = table[byte][below] ^ crc;
    }
  }
  return table;
}

std::uint32_t Shift(const ShiftTable& table, std::uint32_t crc) {
  return table[0][crc & 0xffU] ^ table[1][crc >> 8 & 0xffU] ^ table[2][crc >> 16 & 0xffU] ^
         table[3][crc >> 24];
}

std::uint64_t Word(const std::byte* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t Crc32cSse42(std::span<const std::byte> data,
                                                            std::uint32_t crc) {
  static const ShiftTable shift = MakeShiftTable();
  std::uint64_t state = ~crc;
  const std::byte* at = data.data();
  std::size_t left = data.size();
  for (; left >= 3 * kStreamBytes; at += 3 * kStreamBytes, left -= 3 * kStreamBytes) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kStreamBytes; i += 8) {
      state = _mm_crc32_u64(state, Word(at + i));
      second = _mm_crc32_u64(second, Word(at + kStreamBytes + i));
      third = _mm_crc32_u64(third, Word(at + 2 * kStreamBytes + i));
    }
    const std::uint32_t two =
        Shift(shift, static_cast<std::uint32_t>(state)) ^ static_cast<std::uint32_t>(second);
    state = Shift(shift, two) ^ static_cast<std::uint32_t>(third);
  }
  for (; left >= 8; at += 8, left -= 8) state = _mm_crc32_u64(state, Word(at));
  for (; left > 0; ++at, --left) {
    state = _mm_crc32_u8(static_cast<std::uint32_t>(state), std::to_integer<std::uint8_t>(*at));
  }
  return ~static_cast<std::uint32_t>(state);
}
#endif

}  // namespace

std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t crc) {
  crc = ~crc;
  for (const std::byte byte : data)
    crc = kTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xffU] ^ (crc >> 8);
  return ~crc;
}

std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t crc) {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("sse4.2") != 0;
  if (fast) return Crc32cSse42(data, crc);
#endif
  return Crc32cPortable(data, crc);
}

}  // namespace baton
