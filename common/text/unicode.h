#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// The Unicode classes that split patterns speak of, and normalisation. utf8proc does the tables.
namespace baton::text {

/// What a split pattern can tell apart; every character is one of these.
enum class CharClass : unsigned char {
  kLetter,   // \p{L}
  kNumber,   // \p{N}
  kSpace,    // \s, that is White_Space, but for the next
  kNewline,  // U+000A and U+000D
  kOther,
};

[[nodiscard]] CharClass ClassOf(char32_t code);

/// \w: letters, marks, numbers that count or are letters, and connecting punctuation.
[[nodiscard]] bool IsWordCharacter(char32_t code);

/// White_Space.
[[nodiscard]] bool IsWhiteSpace(char32_t code);
/// \p{P}, and the signs of ASCII that are symbols by category.
[[nodiscard]] bool IsPunctuation(char32_t code);

/// The general category as one bit of 30; `CategoryNamed` has the bits of a name such as "L" or "Lu", 0 where
/// there is none.
[[nodiscard]] std::uint32_t CategoryBit(char32_t code);
[[nodiscard]] std::uint32_t CategoryNamed(std::string_view name);
/// One to one; where there is none, the character itself.
[[nodiscard]] char32_t SimpleLower(char32_t code);
[[nodiscard]] char32_t SimpleUpper(char32_t code);

enum class NormalForm { kC, kD, kCompatibleC, kCompatibleD };

/// `utf8`, which must be valid, in a normalisation form. O(n log n) also where an attacker stacks a million
/// marks.
[[nodiscard]] std::string Normalized(std::string_view utf8, NormalForm form);
[[nodiscard]] inline std::string Nfc(std::string_view utf8) {
  return Normalized(utf8, NormalForm::kC);
}
/// Each character by itself in lower case.
[[nodiscard]] std::string Lowercase(std::string_view utf8);
/// Without marks (\p{M}); what is composed stays.
[[nodiscard]] std::string WithoutMarks(std::string_view utf8);
/// Without white space at its beginning, its end, or both.
[[nodiscard]] std::string_view Stripped(std::string_view utf8, bool left, bool right);

}  // namespace baton::text
