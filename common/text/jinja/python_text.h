#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

/// Strings as Python treats them.
namespace baton::text::jinja {

/// Which ends `Strip` works on.
enum class Ends { kLeft, kRight, kBoth };

/// str.strip and its one-sided forms: white space where there is no `characters`, else what is in it.
[[nodiscard]] std::string_view Strip(std::string_view text, Ends ends,
                                     std::optional<std::string_view> characters = std::nullopt);

/// The count of characters in valid UTF-8.
[[nodiscard]] std::size_t CharacterCount(std::string_view text);

/// repr(float): the fewest digits that read back the same, with an exponent where Python writes one.
[[nodiscard]] std::string FloatText(double number);

}  // namespace baton::text::jinja
