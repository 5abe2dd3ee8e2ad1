#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cuda/arguments.h"

/// 8-bit floats of 4 bits of exponent and 3 of fraction (e4m3 of the OCP: up to 448, no infinity), as the
/// host converts them.
namespace baton::kernels::cuda {

inline constexpr std::uint8_t kFp8NaN = 0x7f;

/// To nearest, ties to even; what is beyond the greatest becomes that. A model has billions of weights: on
/// the bits, without a branch that loops could not be unrolled over.
[[nodiscard]] inline std::uint8_t ToFp8(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 24 & 0x80;
  const std::uint32_t magnitude_bits = bits & 0x7fffffff;
  constexpr std::uint32_t kInfinity = 0x7f800000;
  const std::uint32_t limited = std::min(magnitude_bits, std::bit_cast<std::uint32_t>(kFp8Max));
  // 20 bits of fraction go; a carry goes into the exponent, whose bias falls from 127 to 7.
  const std::uint32_t normal = ((limited + 0x7ffff + (limited >> 20 & 1)) >> 20) - ((127 - 7) << 3);
  // Below 2^-6 in steps of 2^-9, which are the last bit of a sum with 2^14.
  const std::uint32_t small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(limited) + 0x1p14F) & 0xf;
  const std::uint32_t number = limited < std::bit_cast<std::uint32_t>(0x1p-6F) ? small : normal;
  return static_cast<std::uint8_t>(magnitude_bits > kInfinity ? kFp8NaN : sign | number);
}

[[nodiscard]] inline float FromFp8(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int fraction = bits & 7;
  if ((bits & 0x7f) == kFp8NaN) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                        : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

/// How a row is rounded: element x becomes ToFp8(x * inverse), which stands for that times `scale`. The
/// greatest element becomes the greatest number; a row of next to nothing becomes zeros.
struct Fp8Scale {
  float scale = 1;
  float inverse = 1;
};
[[nodiscard]] inline Fp8Scale ScaleOfRow(float greatest_magnitude) {
  if (!(greatest_magnitude > kFp8Nothing)) return {};
  return {.scale = greatest_magnitude / kFp8Max, .inverse = kFp8Max / greatest_magnitude};
}

}  // namespace baton::kernels::cuda
