#include "common/text/pattern.h"

#include <algorithm>
#include <utility>

#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace baton::text {
namespace {

/// What a character is to a class: characters of one kind, not 0, are matches.
int KindIn(Pattern::Class characters, char32_t code) {
  switch (characters) {
    case Pattern::Class::kPunctuation:
      return IsPunctuation(code) ? 1 : 0;
    case Pattern::Class::kNumber:
    case Pattern::Class::kNumbers:
      return ClassOf(code) == CharClass::kNumber ? 1 : 0;
    case Pattern::Class::kWhiteSpace:
      return IsWhiteSpace(code) ? 1 : 0;
    case Pattern::Class::kWordsAndSigns:
      if (IsWordCharacter(code)) return 1;
      return IsWhiteSpace(code) ? 0 : 2;
  }
  return 0;
}

void FindClass(Pattern::Class characters, std::string_view text, std::vector<TextPart>& parts) {
  const bool runs = characters == Pattern::Class::kNumbers || characters == Pattern::Class::kWordsAndSigns;
  int last = -1;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = NextUtf8(text.substr(at));
    const int kind = KindIn(characters, step.code);
    if (kind == last && (runs || kind == 0)) {
      parts.back().end += step.length;
    } else {
      parts.push_back({at, at + step.length, kind != 0});
    }
    last = kind;
    at += step.length;
  }
}

void FindText(const std::string& wanted, std::string_view text, std::vector<TextPart>& parts) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t begin = std::min(text.find(wanted, at), text.size());
    if (begin > at) parts.push_back({at, begin, false});
    if (begin == text.size()) break;
    at = begin + wanted.size();
    parts.push_back({begin, at, true});
  }
}

void FindByHand(SplitPattern pattern, std::string_view text, std::vector<TextPart>& parts, Effort& effort) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = FirstWord(pattern, text.substr(at), &effort.steps);
    parts.push_back({at, at + length, true});
    at += length;
  }
}

}  // namespace

Pattern Pattern::OfText(std::string text) {
  if (text.empty()) return Pattern(What(LinearRegex::Compile("")));
  return Pattern(What(std::move(text)));
}

absl::StatusOr<Pattern> Pattern::OfRegex(const std::string& regex) {
  if (const auto known = FindSplitPattern(regex)) return Pattern(What(*known));
  if (regex.size() <= kMaxRegexBytes) {
    if (auto linear = LinearRegex::Compile(regex)) return Pattern(What(std::move(linear)));
  }
  auto other = BacktrackingRegex::Compile(regex);
  if (!other.ok()) return other.status();
  return Pattern(What(*std::move(other)));
}

absl::Status Pattern::Find(std::string_view text, std::vector<TextPart>& parts, Effort& effort) const {
  if (const auto* pattern = std::get_if<SplitPattern>(&what_)) {
    FindByHand(*pattern, text, parts, effort);
    return absl::OkStatus();
  }
  if (const auto* linear = std::get_if<std::shared_ptr<const LinearRegex>>(&what_))
    return (*linear)->Find(text, parts, effort);
  effort.steps += text.size();
  if (const auto* regex = std::get_if<std::shared_ptr<const BacktrackingRegex>>(&what_))
    return (*regex)->Find(text, parts, effort);
  if (const auto* wanted = std::get_if<std::string>(&what_)) {
    FindText(*wanted, text, parts);
  } else {
    FindClass(std::get<Class>(what_), text, parts);
  }
  return absl::OkStatus();
}

std::optional<SplitPattern> Pattern::ByHand() const {
  const auto* pattern = std::get_if<SplitPattern>(&what_);
  return pattern == nullptr ? std::nullopt : std::optional(*pattern);
}

std::optional<std::string_view> Pattern::Text() const {
  const auto* text = std::get_if<std::string>(&what_);
  return text == nullptr ? std::nullopt : std::optional<std::string_view>(*text);
}

}  // namespace baton::text
