#include "common/text/jinja/python_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

#include <absl/container/flat_hash_set.h>

#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace baton::text::jinja {
namespace {

/// str.isspace: White_Space and the four separators of ASCII, which Unicode does not count.
bool IsPythonSpace(char32_t code) {
  const CharClass kind = ClassOf(code);
  return kind == CharClass::kSpace || kind == CharClass::kNewline || (code >= 0x1C && code <= 0x1F);
}

std::size_t LastCharacter(std::string_view text) {
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<std::uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

}  // namespace

std::string_view Strip(std::string_view text, Ends ends, std::optional<std::string_view> characters) {
  absl::flat_hash_set<char32_t> unwanted;
  for (std::string_view rest = characters.value_or(""); !rest.empty();) {
    const Utf8Step step = NextUtf8(rest);
    unwanted.insert(step.code);
    rest.remove_prefix(step.length);
  }
  const auto strips = [&](char32_t code) {
    return characters ? unwanted.contains(code) : IsPythonSpace(code);
  };
  while (ends != Ends::kRight && !text.empty()) {
    const Utf8Step step = NextUtf8(text);
    if (!strips(step.code)) break;
    text.remove_prefix(step.length);
  }
  while (ends != Ends::kLeft && !text.empty()) {
    const std::size_t last = LastCharacter(text);
    if (!strips(NextUtf8(text.substr(last)).code)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::size_t CharacterCount(std::string_view text) {
  const auto begins_character = [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) != 0x80; };
  return static_cast<std::size_t>(std::ranges::count_if(text, begins_character));
}

std::string FloatText(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::array<char, 64> digits{};
  // Python writes an exponent below 1e-4 and from 1e16 on.
  const double size = std::abs(number);
  const bool plain = size == 0.0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string text(digits.data(), end);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

}  // namespace baton::text::jinja
