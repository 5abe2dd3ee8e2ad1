#include "common/text/jinja/python_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>
#include <utf8proc.h>

#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace baton::text::jinja {
namespace {

std::size_t LastCharacter(std::string_view text) {
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<std::uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

/// str.isprintable of one character.
bool IsPrintable(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return code == ' ';
    default:
      return true;
  }
}

void AppendUpper(std::string& out, char32_t code) {
  if (code == 0xDF) {
    out += "SS";  // the only letter in common use that becomes two
  } else {
    AppendUtf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
  }
}
void AppendLower(std::string& out, char32_t code) {
  AppendUtf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
}

template <typename Function>
void ForEachCharacter(std::string_view text, Function&& function) {
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    function(step.code);
    text.remove_prefix(step.length);
  }
}

}  // namespace

/// White_Space and the four separators of ASCII, which Unicode does not count.
bool IsPythonSpace(char32_t code) {
  const CharClass kind = ClassOf(code);
  return kind == CharClass::kSpace || kind == CharClass::kNewline || (code >= 0x1C && code <= 0x1F);
}

std::string Repr(std::string_view text) {
  const bool is_double =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char32_t quote = is_double ? '"' : '\'';
  std::string out(1, static_cast<char>(quote));
  ForEachCharacter(text, [&](char32_t code) {
    const auto number = static_cast<std::uint32_t>(code);
    if (code == quote || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (IsPrintable(code)) {
      AppendUtf8(out, code);
    } else if (number < 0x100) {
      out += fmt::format("\\x{:02x}", number);
    } else if (number < 0x10000) {
      out += fmt::format("\\u{:04x}", number);
    } else {
      out += fmt::format("\\U{:08x}", number);
    }
  });
  return out + static_cast<char>(quote);
}

std::string Upper(std::string_view text) {
  std::string out;
  ForEachCharacter(text, [&](char32_t code) { AppendUpper(out, code); });
  return out;
}
std::string Lower(std::string_view text) {
  std::string out;
  ForEachCharacter(text, [&](char32_t code) { AppendLower(out, code); });
  return out;
}
std::string Capitalized(std::string_view text) {
  std::string out;
  bool first = true;
  ForEachCharacter(text, [&](char32_t code) {
    if (first) {
      AppendUpper(out, code);
    } else {
      AppendLower(out, code);
    }
    first = false;
  });
  return out;
}
std::string Titled(std::string_view text, WordStart start) {
  constexpr std::u32string_view kSeparators = U"-({[<";
  std::string out;
  bool begins = true;
  ForEachCharacter(text, [&](char32_t code) {
    if (begins) {
      AppendUpper(out, code);
    } else {
      AppendLower(out, code);
    }
    begins = start == WordStart::kAfterNonLetter
                 ? ClassOf(code) != CharClass::kLetter
                 : IsPythonSpace(code) || kSeparators.find(code) != std::u32string_view::npos;
  });
  return out;
}

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    const std::size_t length = NextUtf8(text).length;
    characters.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return characters;
}

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
