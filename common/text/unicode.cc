#include "common/text/unicode.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <vector>

#include <utf8proc.h>

#include "common/base/check.h"
#include "common/base/utf8.h"

namespace baton::text {
namespace {

utf8proc_category_t CategoryOf(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool HasWhiteSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

CharClass LookUp(char32_t code) {
  if (code == '\n' || code == '\r') return CharClass::kNewline;
  if (HasWhiteSpace(code)) return CharClass::kSpace;
  const utf8proc_category_t category = CategoryOf(code);
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return CharClass::kLetter;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return CharClass::kNumber;
  return CharClass::kOther;
}

template <typename Visit>
void VisitCharacters(std::string_view utf8, const Visit& visit) {
  while (!utf8.empty()) {
    const Utf8Step step = NextUtf8(utf8);
    BATON_CHECK(step.kind == Utf8Step::Kind::kCharacter);
    visit(step.code, utf8.substr(0, step.length));
    utf8.remove_prefix(step.length);
  }
}

std::array<CharClass, 128> MakeAsciiClasses() {
  std::array<CharClass, 128> classes{};
  for (char32_t code = 0; code < classes.size(); ++code) classes[code] = LookUp(code);
  return classes;
}

utf8proc_propval_t CombiningClass(utf8proc_int32_t code) {
  return utf8proc_get_property(code)->combining_class;
}

/// The decomposition of `utf8`, marks not yet in order.
std::vector<utf8proc_int32_t> Decompose(std::string_view utf8, bool compatible) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (compatible ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(utf8.size());
  VisitCharacters(utf8, [&](char32_t code, std::string_view) {
    std::array<utf8proc_int32_t, 32> parts{};  // the longest decomposition has 18 characters
    int boundary_state = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts.data(),
                                static_cast<utf8proc_ssize_t>(parts.size()), options, &boundary_state);
    BATON_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()), "count {}", count);
    codes.insert(codes.end(), parts.begin(), parts.begin() + count);
  });
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

bool IsWhiteSpace(char32_t code) {
  return HasWhiteSpace(code);
}

bool IsPunctuation(char32_t code) {
  static const std::uint32_t kPunctuation = CategoryNamed("P");
  if (code < 0x80)
    return code > ' ' && code < 0x7F && !(code >= '0' && code <= '9') &&
           !((code | 0x20) >= 'a' && (code | 0x20) <= 'z');
  return (CategoryBit(code) & kPunctuation) != 0;
}

std::uint32_t CategoryBit(char32_t code) {
  return std::uint32_t{1} << CategoryOf(code);
}

std::uint32_t CategoryNamed(std::string_view name) {
  // In utf8proc's order.
  static constexpr std::string_view kNames[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                                "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                                "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name || (name.size() == 1 && kNames[i][0] == name[0])) bits |= std::uint32_t{1} << i;
  }
  return bits;
}

char32_t SimpleLower(char32_t code) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}

char32_t SimpleUpper(char32_t code) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}

std::string Normalized(std::string_view utf8, NormalForm form) {
  const bool compose = form == NormalForm::kC || form == NormalForm::kCompatibleC;
  // Below U+0300, whose first byte is 0xCC, nothing decomposes that would not be composed again. The other
  // forms leave ASCII alone.
  const std::uint8_t changing = form == NormalForm::kC ? 0xCC : 0x80;
  const auto may_change = [&](char c) { return static_cast<std::uint8_t>(c) >= changing; };
  if (std::ranges::none_of(utf8, may_change)) return std::string(utf8);
  const bool compatible = form == NormalForm::kCompatibleC || form == NormalForm::kCompatibleD;
  std::vector<utf8proc_int32_t> codes = Decompose(utf8, compatible);
  OrderMarks(codes);
  auto count = static_cast<utf8proc_ssize_t>(codes.size());
  if (compose) {
    constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    count = utf8proc_normalize_utf32(codes.data(), count, kOptions);
  }
  BATON_CHECK(count >= 0);
  std::string out;
  out.reserve(utf8.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i) AppendUtf8(out, static_cast<char32_t>(codes[i]));
  return out;
}

std::string Lowercase(std::string_view utf8) {
  std::string out;
  out.reserve(utf8.size());
  VisitCharacters(utf8, [&](char32_t code, std::string_view) {
    AppendUtf8(out, code == 0x130 ? 'i' : SimpleLower(code));
    if (code == 0x130) AppendUtf8(out, 0x307);  // the only letter whose lower case is two characters
  });
  return out;
}

std::string WithoutMarks(std::string_view utf8) {
  static const std::uint32_t kMarks = CategoryNamed("M");
  std::string out;
  out.reserve(utf8.size());
  VisitCharacters(utf8, [&](char32_t code, std::string_view character) {
    if (code < 0x300 || (CategoryBit(code) & kMarks) == 0) out += character;
  });
  return out;
}

std::string_view Stripped(std::string_view utf8, bool left, bool right) {
  while (left && !utf8.empty()) {
    const Utf8Step step = NextUtf8(utf8);
    if (!HasWhiteSpace(step.code)) break;
    utf8.remove_prefix(step.length);
  }
  while (right && !utf8.empty()) {
    std::size_t begin = utf8.size() - 1;
    while (begin > 0 && (static_cast<std::uint8_t>(utf8[begin]) & 0xC0) == 0x80) --begin;
    if (!HasWhiteSpace(NextUtf8(utf8.substr(begin)).code)) break;
    utf8 = utf8.substr(0, begin);
  }
  return utf8;
}

}  // namespace baton::text
