#include "kvtransfer/element.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::kvtransfer {
namespace {

constexpr float kF16Max = 65504.0F;

template <typename T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <typename T>
void Store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

float LoadElement(Element element, std::span<const std::byte> row, std::size_t i, float scale) {
  switch (element) {
    case Element::kF32:
      return Load<float>(row.data() + 4 * i);
    case Element::kBf16:
      return FromBf16(Load<std::uint16_t>(row.data() + 2 * i));
    case Element::kF16:
      return FromF16(Load<std::uint16_t>(row.data() + 2 * i));
    case Element::kInt8:
      return scale * static_cast<float>(Load<std::int8_t>(row.data() + sizeof(float) + i));
  }
  return 0;
}

void StoreElement(Element element, std::span<std::byte> row, std::size_t i, float value, float scale) {
  switch (element) {
    case Element::kF32:
      return Store(row.data() + 4 * i, value);
    case Element::kBf16:
      return Store(row.data() + 2 * i, ToBf16(value));
    case Element::kF16:
      return Store(row.data() + 2 * i, ToF16(value));
    case Element::kInt8: {
      const float scaled = scale > 0 ? std::nearbyint(value / scale) : 0;
      return Store(row.data() + sizeof(float) + i,
                   static_cast<std::int8_t>(std::clamp(scaled, -127.0F, 127.0F)));
    }
  }
}

}  // namespace

absl::StatusOr<Element> ElementOf(const std::string& dtype) {
  if (dtype == "f32") return Element::kF32;
  if (dtype == "bf16") return Element::kBf16;
  if (dtype == "f16") return Element::kF16;
  if (dtype == "int8") return Element::kInt8;
  return Error(kInvalidArgument, "KV of type '{}': known are f32, bf16, f16 and, on the wire, int8", dtype);
}

std::string_view Name(Element element) {
  switch (element) {
    case Element::kF32:
      return "f32";
    case Element::kBf16:
      return "bf16";
    case Element::kF16:
      return "f16";
    case Element::kInt8:
      return "int8";
  }
  return "?";
}

std::size_t RowBytes(Element element, std::size_t count) {
  switch (element) {
    case Element::kF32:
      return 4 * count;
    case Element::kBf16:
    case Element::kF16:
      return 2 * count;
    case Element::kInt8:
      return sizeof(float) + count;
  }
  return 0;
}

std::uint16_t ToBf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);  // stays one when cut
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

float FromBf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

std::uint16_t ToF16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00U);
  const float magnitude = std::min(std::fabs(value), kF16Max);
  if (magnitude == 0) return sign;
  // Below 2^-14 the format has steps of 2^-24; above, 11 significant bits.
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int step = std::max(exponent - 11, -24);
  const auto units = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(magnitude, -step)));
  if (step == -24) return static_cast<std::uint16_t>(sign | units);  // subnormal, or the first normal ones
  // `units` is in [1024, 2048]; at 2048 the carry moves into the exponent by itself.
  const auto biased = static_cast<std::uint32_t>(step + 25);
  return static_cast<std::uint16_t>(sign | ((biased << 10) + (units - 1024)));
}

float FromF16(std::uint16_t bits) {
  const float sign = (bits & 0x8000U) != 0 ? -1.0F : 1.0F;
  const int exponent = bits >> 10 & 0x1f;
  const int fraction = bits & 0x3ff;
  if (exponent == 0x1f) return fraction != 0 ? std::nanf("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

void ConvertRow(Element from, std::span<const std::byte> in, Element to, std::span<std::byte> out,
                std::size_t count) {
  BATON_CHECK(in.size() == RowBytes(from, count) && out.size() == RowBytes(to, count));
  if (from == to) {
    std::memcpy(out.data(), in.data(), in.size());
    return;
  }
  const float in_scale = from == Element::kInt8 ? Load<float>(in.data()) : 0;
  float out_scale = 0;
  if (to == Element::kInt8) {
    for (std::size_t i = 0; i < count; ++i)
      out_scale = std::max(out_scale, std::fabs(LoadElement(from, in, i, in_scale)) / 127.0F);
    Store(out.data(), out_scale);
  }
  for (std::size_t i = 0; i < count; ++i)
    StoreElement(to, out, i, LoadElement(from, in, i, in_scale), out_scale);
}

}  // namespace baton::kvtransfer
