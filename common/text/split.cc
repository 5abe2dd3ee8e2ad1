#include "common/text/split.h"

#include <cstdint>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace baton::text {
namespace {

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

/// One character of the text, or its end.
struct Char {
  std::size_t length = 0;  // 0 at the end
  char32_t code = 0;
  CharClass kind = CharClass::kOther;
  [[nodiscard]] bool Is(CharClass wanted) const { return length > 0 && kind == wanted; }
  [[nodiscard]] bool IsWhite() const { return Is(CharClass::kSpace) || Is(CharClass::kNewline); }
};

/// The text, and how often it was looked at.
class Text {
 public:
  explicit Text(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] std::size_t Size() const { return bytes_.size(); }
  [[nodiscard]] std::uint64_t Looks() const { return looks_; }
  [[nodiscard]] Char At(std::size_t at) {
    ++looks_;
    if (at == bytes_.size()) return {};
    const Utf8Step step = NextUtf8(bytes_.substr(at));
    BATON_CHECK(step.kind == Utf8Step::Kind::kCharacter, "byte {} is no UTF-8", at);
    return {.length = step.length, .code = step.code, .kind = ClassOf(step.code)};
  }

 private:
  std::string_view bytes_;
  std::uint64_t looks_ = 0;
};

/// The end of the characters of class `kind` from `at` on, `at_most` of them.
std::size_t Run(Text& text, std::size_t at, CharClass kind, std::size_t at_most = SIZE_MAX) {
  for (std::size_t count = 0; count < at_most; ++count) {
    const Char next = text.At(at);
    if (!next.Is(kind)) break;
    at += next.length;
  }
  return at;
}

char32_t FoldCase(char32_t code) {
  if (code == 0x17F) return 's';  // the long s is an s where case does not count
  return code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code;
}

/// The length of 's, 't, 're, 've, 'm, 'll or 'd at the beginning of `text`, else 0.
std::size_t Contraction(Text& text, bool any_case) {
  if (text.At(0).code != '\'') return 0;
  const Char first = text.At(1);
  if (first.length == 0) return 0;
  const auto fold = [&](char32_t code) { return any_case ? FoldCase(code) : code; };
  const char32_t a = fold(first.code);
  const std::size_t after_first = 1 + first.length;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return after_first;
  const Char second = text.At(after_first);
  const char32_t b = second.length == 0 ? 0 : fold(second.code);
  const bool two = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
  return two ? after_first + second.length : 0;
}

/// The white space that one word takes: all of it at the text's end, else all but the last, which belongs to
/// what follows, unless it is the only one. `with_newlines`: where there are line ends, up to the last of
/// them.
std::size_t Whitespace(Text& text, bool with_newlines) {
  std::size_t end = 0;
  std::size_t last_begin = 0;
  std::size_t after_newline = 0;
  for (Char next = text.At(0); next.IsWhite(); next = text.At(end)) {
    last_begin = end;
    end += next.length;
    if (next.kind == CharClass::kNewline) after_newline = end;
  }
  if (with_newlines && after_newline > 0) return after_newline;
  if (end == text.Size() || last_begin == 0) return end;
  return last_begin;
}

std::size_t FirstGpt2Word(Text& text) {
  if (const std::size_t length = Contraction(text, /*any_case=*/false)) return length;
  const Char first = text.At(0);
  const std::size_t begin = first.code == ' ' ? 1 : 0;
  const Char lead = text.At(begin);
  if (lead.length > 0 && !lead.IsWhite()) return Run(text, begin, lead.kind);
  return Whitespace(text, /*with_newlines=*/false);
}

std::size_t FirstLlama3Word(Text& text, std::size_t digits) {
  if (const std::size_t length = Contraction(text, /*any_case=*/true)) return length;
  const Char first = text.At(0);
  if (first.kind == CharClass::kLetter) return Run(text, 0, CharClass::kLetter);
  if (first.kind == CharClass::kNumber) return Run(text, 0, CharClass::kNumber, digits);
  if (first.kind != CharClass::kNewline && text.At(first.length).Is(CharClass::kLetter)) {
    return Run(text, first.length, CharClass::kLetter);
  }
  const std::size_t begin = first.code == ' ' ? 1 : 0;
  if (text.At(begin).Is(CharClass::kOther)) {
    return Run(text, Run(text, begin, CharClass::kOther), CharClass::kNewline);
  }
  return Whitespace(text, /*with_newlines=*/true);
}

}  // namespace

std::optional<SplitPattern> FindSplitPattern(std::string_view regex) {
  if (regex == kGpt2Regex) return SplitPattern::kGpt2;
  if (regex == kLlama3Regex) return SplitPattern::kLlama3;
  if (regex == kQwen2Regex) return SplitPattern::kQwen2;
  return std::nullopt;
}

std::size_t FirstWord(SplitPattern pattern, std::string_view bytes, std::uint64_t* looks) {
  BATON_CHECK(!bytes.empty());
  Text text(bytes);
  std::size_t length = 0;
  switch (pattern) {
    case SplitPattern::kGpt2:
      length = FirstGpt2Word(text);
      break;
    case SplitPattern::kLlama3:
      length = FirstLlama3Word(text, 3);
      break;
    case SplitPattern::kQwen2:
      length = FirstLlama3Word(text, 1);
      break;
  }
  BATON_CHECK(length > 0 && length <= bytes.size(), "a word of {} of {} bytes", length, bytes.size());
  if (looks != nullptr) *looks += text.Looks();
  return length;
}

}  // namespace baton::text
