#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Strict UTF-8: shortest forms only, no surrogates, nothing past U+10FFFF.
namespace baton {

/// What stands at the beginning of a text.
struct Utf8Step {
  enum class Kind {
    kCharacter,   // `code` and its `length` bytes
    kInvalid,     // `length` bytes that are no beginning of a character: one U+FFFD (maximal-subpart rule)
    kIncomplete,  // the text ends inside a character: all of its `length` bytes
  };
  Kind kind = Kind::kInvalid;
  std::size_t length = 0;
  char32_t code = 0;
};

/// The first character of `text`, which must not be empty.
[[nodiscard]] Utf8Step NextUtf8(std::string_view text);

/// The length of the longest valid prefix of `text`: its size where all of it is valid.
[[nodiscard]] std::size_t ValidUtf8Prefix(std::string_view text);

/// Appends the UTF-8 form of `code`, which must be a Unicode scalar value.
void AppendUtf8(std::string& out, char32_t code);

/// Appends `text`, each invalid or incomplete sequence as one U+FFFD.
void AppendAsValidUtf8(std::string& out, std::string_view text);

}  // namespace baton
