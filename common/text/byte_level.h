#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// The spelling of bytes as visible characters that byte-level vocabularies use: a space is U+0120, for
/// example.
namespace baton::text {

/// The character that stands for each byte.
[[nodiscard]] const std::array<char32_t, 256>& ByteCharacters();

/// The spelling of `bytes`.
[[nodiscard]] std::string ToByteLevel(std::string_view bytes);

/// The bytes that `spelled` stands for; nothing where it has a character that stands for none.
[[nodiscard]] std::optional<std::string> FromByteLevel(std::string_view spelled);

}  // namespace baton::text
