#include <array>
#include <charconv>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "common/base/utf8.h"
#include "common/json/value.h"

namespace baton::json {
namespace {

void AppendDouble(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  std::array<char, 32> digits{};  // the longest shortest form has 24 characters
  const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  const std::string_view text(digits.data(), static_cast<std::size_t>(result.ptr - digits.data()));
  out += text;
  // Without a point or an exponent it would be read back as a whole number.
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void Append(std::string& out, const Value& value);

void AppendArray(std::string& out, const Array& array) {
  out += '[';
  for (std::size_t i = 0; i < array.size(); ++i) {
    if (i > 0) out += ',';
    Append(out, array[i]);
  }
  out += ']';
}

void AppendObject(std::string& out, const Object& object) {
  out += '{';
  for (std::size_t i = 0; i < object.size(); ++i) {
    if (i > 0) out += ',';
    AppendQuoted(out, object[i].first);
    out += ':';
    Append(out, object[i].second);
  }
  out += '}';
}

void Append(std::string& out, const Value& value) {
  if (const bool* boolean = value.AsBool()) {
    out += *boolean ? "true" : "false";
  } else if (const std::int64_t* whole = value.AsInt()) {
    fmt::format_to(std::back_inserter(out), "{}", *whole);
  } else if (value.IsNumber()) {
    AppendDouble(out, value.Number());
  } else if (const std::string* text = value.AsString()) {
    AppendQuoted(out, *text);
  } else if (const Array* array = value.AsArray()) {
    AppendArray(out, *array);
  } else if (const Object* object = value.AsObject()) {
    AppendObject(out, *object);
  } else {
    out += "null";
  }
}

/// The letter after the backslash, 0 where there is no such short form.
char ShortEscape(char c) {
  switch (c) {
    case '"':
      return '"';
    case '\\':
      return '\\';
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

}  // namespace

std::string Serialize(const Value& value) {
  std::string out;
  Append(out, value);
  return out;
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  std::size_t plain = 0;  // where the text begins that needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
    AppendAsValidUtf8(out, text.substr(plain, i - plain));
    plain = i + 1;
    if (const char letter = ShortEscape(c)) {
      out += '\\';
      out += letter;
    } else {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    }
  }
  AppendAsValidUtf8(out, text.substr(plain));
  out += '"';
}

}  // namespace baton::json
