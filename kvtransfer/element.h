#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

/// The element types of KV, and how a row of one becomes a row of another on its way between workers: pure.
namespace baton::kvtransfer {

/// kInt8 is a wire's type alone: a row of it is a scale (f32, little-endian) and then a byte for each
/// element.
enum class Element : std::uint8_t { kF32, kBf16, kF16, kInt8 };

/// Of "f32", "bf16", "f16", "int8"; InvalidArgument names what else was asked for.
[[nodiscard]] absl::StatusOr<Element> ElementOf(const std::string& dtype);
[[nodiscard]] std::string_view Name(Element element);
/// Bytes that a row of `count` elements takes.
[[nodiscard]] std::size_t RowBytes(Element element, std::size_t count);

/// Round to nearest, ties to even. What f16 cannot hold becomes its largest finite value: an infinity in KV
/// would spoil every later token, a clamped outlier one.
[[nodiscard]] std::uint16_t ToF16(float value);
[[nodiscard]] float FromF16(std::uint16_t bits);
[[nodiscard]] std::uint16_t ToBf16(float value);
[[nodiscard]] float FromBf16(std::uint16_t bits);

/// Rewrites `count` elements. Equal types are copied bit by bit; int8 has one scale for the row, the largest
/// magnitude / 127. The spans have RowBytes of their types.
void ConvertRow(Element from, std::span<const std::byte> in, Element to, std::span<std::byte> out,
                std::size_t count);

}  // namespace baton::kvtransfer
