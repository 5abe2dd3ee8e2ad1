#include "common/base/utf8.h"

#include <cstdint>

#include "common/base/check.h"

namespace baton {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// What the first byte of a character says: its length and the range of its second byte.
struct Lead {
  std::size_t length = 0;  // 0: no first byte
  std::uint8_t second_min = 0x80;
  std::uint8_t second_max = 0xBF;
};

Lead LeadOf(std::uint8_t byte) {
  if (byte < 0x80) return {.length = 1};
  if (byte < 0xC2) return {};  // a continuation, or an overlong form
  if (byte < 0xE0) return {.length = 2};
  if (byte == 0xE0) return {.length = 3, .second_min = 0xA0};
  if (byte == 0xED) return {.length = 3, .second_max = 0x9F};  // no surrogates
  if (byte < 0xF0) return {.length = 3};
  if (byte == 0xF0) return {.length = 4, .second_min = 0x90};
  if (byte < 0xF4) return {.length = 4};
  if (byte == 0xF4) return {.length = 4, .second_max = 0x8F};
  return {};
}

}  // namespace

Utf8Step NextUtf8(std::string_view text) {
  using Kind = Utf8Step::Kind;
  BATON_CHECK(!text.empty());
  const auto first = static_cast<std::uint8_t>(text[0]);
  const Lead lead = LeadOf(first);
  if (lead.length == 1) return {.kind = Kind::kCharacter, .length = 1, .code = first};
  if (lead.length == 0) return {.kind = Kind::kInvalid, .length = 1};
  auto code = static_cast<char32_t>(first & (0x7F >> lead.length));
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {.kind = Kind::kIncomplete, .length = i};
    const auto byte = static_cast<std::uint8_t>(text[i]);
    const bool fits = i == 1 ? byte >= lead.second_min && byte <= lead.second_max : (byte & 0xC0) == 0x80;
    if (!fits) return {.kind = Kind::kInvalid, .length = i};
    code = (code << 6) | (byte & 0x3F);
  }
  return {.kind = Kind::kCharacter, .length = lead.length, .code = code};
}

std::size_t ValidUtf8Prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = NextUtf8(text.substr(at));
    if (step.kind != Utf8Step::Kind::kCharacter) break;
    at += step.length;
  }
  return at;
}

void AppendUtf8(std::string& out, char32_t code) {
  BATON_CHECK(code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF), "U+{:X}", std::uint32_t{code});
  const auto tail = [&](int shift) { out.push_back(static_cast<char>(0x80 | ((code >> shift) & 0x3F))); };
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xC0 | (code >> 6)));
    tail(0);
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | (code >> 12)));
    tail(6);
    tail(0);
  } else {
    out.push_back(static_cast<char>(0xF0 | (code >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

void AppendAsValidUtf8(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t valid = ValidUtf8Prefix(text);
    out.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) return;
    out.append(kReplacement);
    text.remove_prefix(NextUtf8(text).length);
  }
}

}  // namespace baton
