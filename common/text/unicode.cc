#include "common/text/unicode.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include <utf8proc.h>

#include "common/base/check.h"
#include "common/base/utf8.h"

namespace baton::text {
namespace {

utf8proc_category_t CategoryOf(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool IsSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

CharClass LookUp(char32_t code) {
  if (code == '\n' || code == '\r') return CharClass::kNewline;
  if (IsSpace(code)) return CharClass::kSpace;
  const utf8proc_category_t category = CategoryOf(code);
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return CharClass::kLetter;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return CharClass::kNumber;
  return CharClass::kOther;
}

std::array<CharClass, 128> MakeAsciiClasses() {
  std::array<CharClass, 128> classes{};
  for (char32_t code = 0; code < classes.size(); ++code) classes[code] = LookUp(code);
  return classes;
}

utf8proc_propval_t CombiningClass(utf8proc_int32_t code) {
  return utf8proc_get_property(code)->combining_class;
}

/// The canonical decomposition of `utf8`, marks not yet in order.
std::vector<utf8proc_int32_t> Decompose(std::string_view utf8) {
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(utf8.size());
  while (!utf8.empty()) {
    const Utf8Step step = NextUtf8(utf8);
    BATON_CHECK(step.kind == Utf8Step::Kind::kCharacter);
    utf8.remove_prefix(step.length);
    std::array<utf8proc_int32_t, 8> parts{};  // the longest canonical decomposition has 4 characters
    int boundary_state = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.code), parts.data(),
                                static_cast<utf8proc_ssize_t>(parts.size()), kOptions, &boundary_state);
    BATON_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()), "count {}", count);
    codes.insert(codes.end(), parts.begin(), parts.begin() + count);
  }
  return codes;
}

/// Puts each run of marks in canonical order. utf8proc would do this too, by an insertion sort.
void OrderMarks(std::vector<utf8proc_int32_t>& codes) {
  const auto is_starter = [](utf8proc_int32_t code) { return CombiningClass(code) == 0; };
  auto begin = codes.begin();
  while (begin != codes.end()) {
    const auto first = std::find_if_not(begin, codes.end(), is_starter);
    const auto end = std::find_if(first, codes.end(), is_starter);
    std::stable_sort(first, end, [](auto a, auto b) { return CombiningClass(a) < CombiningClass(b); });
    begin = end;
  }
}

}  // namespace

CharClass ClassOf(char32_t code) {
  static const std::array<CharClass, 128> kAscii = MakeAsciiClasses();
  return code < kAscii.size() ? kAscii[code] : LookUp(code);
}

bool IsWordCharacter(char32_t code) {
  switch (CategoryOf(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      break;
  }
  // The joiners, and the letters in circles and squares, which are symbols by category and alphabetic all the
  // same.
  return code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
         (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
         (code >= 0x1F170 && code <= 0x1F189);
}

std::string Nfc(std::string_view utf8) {
  // Below U+0300, whose first byte is 0xCC, nothing decomposes that would not be composed again.
  const auto may_change = [](char c) { return static_cast<std::uint8_t>(c) >= 0xCC; };
  if (std::ranges::none_of(utf8, may_change)) return std::string(utf8);
  std::vector<utf8proc_int32_t> codes = Decompose(utf8);
  OrderMarks(codes);
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const utf8proc_ssize_t count =
      utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), kOptions);
  BATON_CHECK(count >= 0);
  std::string out;
  out.reserve(utf8.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i) AppendUtf8(out, static_cast<char32_t>(codes[i]));
  return out;
}

}  // namespace baton::text
