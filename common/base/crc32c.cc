#include "common/base/crc32c.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
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

/// Bytes that one round of the widest way folds: four registers of 64.
constexpr std::size_t kFoldBytes = 256;

/// x^`power` modulo the polynomial, as a factor for the carry-less product of reflected operands.
constexpr std::int64_t FoldFactor(int power) {
  std::uint32_t value = 0x80000000U;  // x^0
  for (int i = 0; i < power; ++i) value = (value & 1U) != 0 ? (value >> 1) ^ kPolynomial : value >> 1;
  return static_cast<std::int64_t>(std::uint64_t{value} << 1);
}

/// The two factors that carry 128 bits `bits` further on: of their first half, and of their second.
template <int kBits>
__attribute__((target("avx512f"))) __m512i FoldFactors() {
  constexpr std::int64_t kFirst = FoldFactor(kBits + 32);
  constexpr std::int64_t kSecond = FoldFactor(kBits - 32);
  return _mm512_set_epi64(kSecond, kFirst, kSecond, kFirst, kSecond, kFirst, kSecond, kFirst);
}

__attribute__((target("avx512f,vpclmulqdq"))) __m512i Fold(__m512i from, __m512i factors, __m512i into) {
  const __m512i first = _mm512_clmulepi64_epi128(from, factors, 0x00);
  const __m512i second = _mm512_clmulepi64_epi128(from, factors, 0x11);
  return _mm512_ternarylogic_epi64(first, second, into, 0x96);  // all three, exclusive or
}

/// Of at least kFoldBytes: what lies before is folded onto what follows, 256 bytes a round, until 64 are
/// left, which have the checksum of all (with the instruction, as what is left over).
__attribute__((target("avx512f,vpclmulqdq,sse4.2"))) std::uint32_t Crc32cFolded(
    std::span<const std::byte> data, std::uint32_t crc) {
  const std::byte* at = data.data();
  std::size_t left = data.size();
  __m512i sum[4];
  for (std::size_t i = 0; i < 4; ++i) sum[i] = _mm512_loadu_si512(at + 64 * i);
  sum[0] = _mm512_xor_si512(sum[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(~crc))));
  const __m512i round = FoldFactors<8 * kFoldBytes>();
  for (at += kFoldBytes, left -= kFoldBytes; left >= kFoldBytes; at += kFoldBytes, left -= kFoldBytes) {
    for (std::size_t i = 0; i < 4; ++i) sum[i] = Fold(sum[i], round, _mm512_loadu_si512(at + 64 * i));
  }
  const __m512i step = FoldFactors<512>();
  for (std::size_t i = 1; i < 4; ++i) sum[i] = Fold(sum[i - 1], step, sum[i]);
  std::array<std::byte, 64> rest{};
  _mm512_storeu_si512(rest.data(), sum[3]);
  return Crc32cSse42({at, left}, Crc32cSse42(rest, ~0U));
}
#endif

/// Of a copy that is summed: a third of the nearest cache, so that what it is read from and written to is
/// there together.
constexpr std::size_t kCopyPieceBytes = 16384;

}  // namespace

std::uint32_t CopyCrc32c(std::span<const std::byte> from, std::byte* to, std::uint32_t crc) {
  for (std::size_t done = 0; done < from.size();) {
    const std::span<const std::byte> piece =
        from.subspan(done, std::min(kCopyPieceBytes, from.size() - done));
    crc = Crc32c(piece, crc);
    std::memcpy(to + done, piece.data(), piece.size());
    done += piece.size();
  }
  return crc;
}

std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t crc) {
  crc = ~crc;
  for (const std::byte byte : data)
    crc = kTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xffU] ^ (crc >> 8);
  return ~crc;
}

std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t crc) {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("sse4.2") != 0;
  static const bool folds =
      fast && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("vpclmulqdq") != 0;
  if (folds && data.size() >= 2 * kFoldBytes) return Crc32cFolded(data, crc);
  if (fast) return Crc32cSse42(data, crc);
#endif
  return Crc32cPortable(data, crc);
}

}  // namespace baton
