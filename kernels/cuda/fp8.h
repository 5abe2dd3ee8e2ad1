#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cuda/arguments.h"

/// 8-bit floats of 4 bits of exponent and 3 of fraction (e4m3 of the OCP: up to 448, no infinity), as the
/// host converts them.
namespace baton::kernels::cuda {

inline constexpr std::uint8_t kFp8NaN = 0x7f;

/// To nearest, ties to even; what is beyond the greatest becomes that.
[[nodiscard]] inline std::uint8_t ToFp8(float value) {
  if (std::isnan(value)) return kFp8NaN;
  const unsigned sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::min(std::abs(value), kFp8Max);
  constexpr float kLeastNormal = 0x1p-6F;
  const int exponent = magnitude < kLeastNormal ? -6 : std::ilogb(magnitude);
  // Eighths of the power of two: 8 to 16; below the least normal number 0 to 8. A carry goes into the
  // exponent.
  const auto eighths = static_cast<unsigned>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  const unsigned field = magnitude < kLeastNormal ? 0 : static_cast<unsigned>(exponent + 7) * 8 - 8;
  return static_cast<std::uint8_t>(sign | (field + eighths));
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
