#pragma once

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

/// `utf8`, which must be valid, in normalisation form C. O(n log n) also where an attacker stacks a million
/// marks.
[[nodiscard]] std::string Nfc(std::string_view utf8);

}  // namespace baton::text
