#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Strings as Python treats them.
namespace baton::text::jinja {

/// Which ends `Strip` works on.
enum class Ends { kLeft, kRight, kBoth };

/// str.strip and its one-sided forms: white space where there is no `characters`, else what is in it.
[[nodiscard]] std::string_view Strip(std::string_view text, Ends ends,
                                     std::optional<std::string_view> characters = std::nullopt);

/// repr(str): in single quotes unless it holds some and no double ones.
[[nodiscard]] std::string Repr(std::string_view text);

/// str.upper and str.lower, character by character.
[[nodiscard]] std::string Upper(std::string_view text);
[[nodiscard]] std::string Lower(std::string_view text);
/// str.capitalize: the first character upper, the rest lower.
[[nodiscard]] std::string Capitalized(std::string_view text);
/// Each word's first letter upper, the rest lower. A word begins after what is no letter (str.title) or, for
/// Jinja's filter, after white space and -({[<.
enum class WordStart { kAfterNonLetter, kAfterSeparator };
[[nodiscard]] std::string Titled(std::string_view text, WordStart start);

/// The characters of valid UTF-8, each as its bytes.
[[nodiscard]] std::vector<std::string_view> Characters(std::string_view text);
/// str.isspace of one character.
[[nodiscard]] bool IsPythonSpace(char32_t code);

/// The count of characters in valid UTF-8.
[[nodiscard]] std::size_t CharacterCount(std::string_view text);

/// repr(float): the fewest digits that read back the same, with an exponent where Python writes one.
[[nodiscard]] std::string FloatText(double number);

}  // namespace baton::text::jinja
