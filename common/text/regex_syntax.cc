#include "common/text/regex_syntax.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <tuple>
#include <utility>

#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace baton::text {
namespace {

using Kind = RegexNode::Kind;
constexpr int kMaxNesting = 32;
constexpr int kMaxRepeats = 4;  // of repetitions
constexpr std::uint32_t kMaxCount = 1000;
// Signs that stand for themselves when escaped; letters may mean anything.
constexpr std::string_view kSigns = R"(\^$.[]|()?*+{}-#&~!"%',/:;<=>@_` )";

/// A parser by recursive descent; every function returns nothing once something is not supported.
class RegexParser {
 public:
  explicit RegexParser(std::string_view regex) : rest_(regex) {}

  std::optional<RegexTree> Parse() {
    const auto root = ParseAlternatives(/*ignore_case=*/false, 0);
    if (!root || !rest_.empty() || *root + 1 != tree_.nodes.size()) return std::nullopt;
    for (CharacterSet& set : tree_.sets) set.Seal();
    return std::move(tree_);
  }

 private:
  using Index = std::optional<std::uint32_t>;

  Index Add(RegexNode node) {
    tree_.nodes.push_back(std::move(node));
    return static_cast<std::uint32_t>(tree_.nodes.size() - 1);
  }
  Index AddSet(CharacterSet set, bool ignore_case) {
    if (ignore_case) set.IgnoreCase();
    tree_.sets.push_back(std::move(set));
    return Add({.kind = Kind::kSet, .set = static_cast<std::uint32_t>(tree_.sets.size() - 1)});
  }
  Index AddCharacter(char32_t code, bool ignore_case) {
    CharacterSet set;
    set.AddRange(code, code);
    return AddSet(std::move(set), ignore_case);
  }
  bool Take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  std::optional<char32_t> TakeCharacter() {
    if (rest_.empty()) return std::nullopt;
    const Utf8Step step = NextUtf8(rest_);
    if (step.kind != Utf8Step::Kind::kCharacter) return std::nullopt;
    rest_.remove_prefix(step.length);
    return step.code;
  }

  Index ParseAlternatives(bool ignore_case, int nesting);
  Index ParseSequence(bool ignore_case, int nesting);
  Index ParseAtom(bool ignore_case, int nesting);
  Index ParseGroup(bool ignore_case, int nesting);
  Index ParseLook(Kind kind, bool negated, bool ignore_case, int nesting);
  Index ParseRepeats(std::uint32_t atom);
  Index ParseEscape(bool ignore_case);
  std::optional<CharacterSet> ParseClass(int nesting);
  bool ParseClassPart(CharacterSet& set);
  std::optional<std::pair<std::uint32_t, std::uint32_t>> ParseCounts();
  std::optional<std::uint32_t> ParseNumber();
  std::optional<char32_t> ParseHexadecimal();
  std::optional<char32_t> ParseEscapedCharacter();
  std::optional<bool> ParseEscapedClass(CharacterSet& set, bool in_brackets);
  [[nodiscard]] bool MayBeEmpty(std::uint32_t index) const;

  std::string_view rest_;
  RegexTree tree_;
};

bool RegexParser::MayBeEmpty(std::uint32_t index) const {
  const RegexNode& node = tree_.nodes[index];
  const auto empty = [&](std::uint32_t child) { return MayBeEmpty(child); };
  switch (node.kind) {
    case Kind::kSet:
      return false;
    case Kind::kSequence:
      return std::ranges::all_of(node.children, empty);
    case Kind::kAlternatives:
      return std::ranges::any_of(node.children, empty);
    case Kind::kRepeat:
      return node.min == 0 || MayBeEmpty(node.children[0]);
    default:
      return true;
  }
}

RegexParser::Index RegexParser::ParseAlternatives(bool ignore_case, int nesting) {
  if (nesting > kMaxNesting) return std::nullopt;
  RegexNode node{.kind = Kind::kAlternatives};
  do {
    const Index sequence = ParseSequence(ignore_case, nesting);
    if (!sequence) return std::nullopt;
    node.children.push_back(*sequence);
  } while (Take("|"));
  return Add(std::move(node));
}

RegexParser::Index RegexParser::ParseSequence(bool ignore_case, int nesting) {
  RegexNode node{.kind = Kind::kSequence};
  while (!rest_.empty() && rest_[0] != '|' && rest_[0] != ')') {
    const Index atom = ParseAtom(ignore_case, nesting);
    if (!atom) return std::nullopt;
    const Index repeated = ParseRepeats(*atom);
    if (!repeated) return std::nullopt;
    node.children.push_back(*repeated);
  }
  return Add(std::move(node));
}

RegexParser::Index RegexParser::ParseAtom(bool ignore_case, int nesting) {
  if (Take("(")) return ParseGroup(ignore_case, nesting);
  if (Take("[")) {
    auto set = ParseClass(0);
    return set ? AddSet(*std::move(set), ignore_case) : std::nullopt;
  }
  if (Take("\\")) return ParseEscape(ignore_case);
  if (Take("^")) return Add({.kind = Kind::kLineBegin});
  if (Take("$")) return Add({.kind = Kind::kLineEnd});
  if (Take(".")) {
    CharacterSet set;
    set.AddRange('\n', '\n');
    set.Negate();
    return AddSet(std::move(set), false);
  }
  if (std::string_view("*+?{}]").find(rest_[0]) != std::string_view::npos) return std::nullopt;
  const auto code = TakeCharacter();
  return code ? AddCharacter(*code, ignore_case) : std::nullopt;
}

RegexParser::Index RegexParser::ParseGroup(bool ignore_case, int nesting) {
  if (Take("?=")) return ParseLook(Kind::kAhead, false, ignore_case, nesting);
  if (Take("?!")) return ParseLook(Kind::kAhead, true, ignore_case, nesting);
  if (Take("?<=")) return ParseLook(Kind::kBehind, false, ignore_case, nesting);
  if (Take("?<!")) return ParseLook(Kind::kBehind, true, ignore_case, nesting);
  if (Take("?i:")) {
    ignore_case = true;
  } else if (!Take("?:") && rest_.starts_with("?")) {
    return std::nullopt;
  }
  const Index inside = ParseAlternatives(ignore_case, nesting + 1);
  return inside && Take(")") ? inside : std::nullopt;
}

/// What looks around must look at one character.
RegexParser::Index RegexParser::ParseLook(Kind kind, bool negated, bool ignore_case, int nesting) {
  Index inside = ParseAlternatives(ignore_case, nesting + 1);
  if (!inside || !Take(")")) return std::nullopt;
  while (tree_.nodes[*inside].kind == Kind::kAlternatives || tree_.nodes[*inside].kind == Kind::kSequence) {
    if (tree_.nodes[*inside].children.size() != 1) return std::nullopt;
    inside = tree_.nodes[*inside].children[0];
  }
  if (tree_.nodes[*inside].kind != Kind::kSet) return std::nullopt;
  return Add({.kind = kind, .set = tree_.nodes[*inside].set, .negated = negated});
}

RegexParser::Index RegexParser::ParseRepeats(std::uint32_t atom) {
  for (int repeats = 0;; ++repeats) {
    if (repeats > kMaxRepeats) return std::nullopt;
    RegexNode node{.kind = Kind::kRepeat, .children = {atom}};
    bool counted = false;
    if (Take("?")) {
      node.max = 1;
    } else if (Take("*")) {
      node.max = RegexNode::kEndless;
    } else if (Take("+")) {
      node.min = 1;
      node.max = RegexNode::kEndless;
    } else if (rest_.starts_with("{")) {
      const auto counts = ParseCounts();
      if (!counts) return std::nullopt;
      std::tie(node.min, node.max) = *counts;
      counted = true;
    } else {
      return atom;
    }
    if (Take("?")) {
      if (counted) return std::nullopt;  // {n}? is no lazy repetition in Oniguruma
      node.lazy = true;
    } else if (!counted && Take("+")) {  // {n}+ repeats a repetition there
      if (tree_.nodes[atom].kind != Kind::kSet) return std::nullopt;
      node.possessive = true;
    }
    if (MayBeEmpty(atom) && node.max > 1) return std::nullopt;
    atom = *Add(std::move(node));
  }
}

std::optional<std::uint32_t> RegexParser::ParseNumber() {
  std::uint32_t number = 0;
  std::size_t digits = 0;
  for (; digits < rest_.size() && rest_[digits] >= '0' && rest_[digits] <= '9'; ++digits) {
    number = number * 10 + static_cast<std::uint32_t>(rest_[digits] - '0');
    if (number > kMaxCount) return std::nullopt;
  }
  if (digits == 0) return std::nullopt;
  rest_.remove_prefix(digits);
  return number;
}

/// {n}, {n,} or {n,m}.
std::optional<std::pair<std::uint32_t, std::uint32_t>> RegexParser::ParseCounts() {
  rest_.remove_prefix(1);
  const auto min = ParseNumber();
  if (!min) return std::nullopt;
  if (Take("}")) return std::pair(*min, *min);
  if (!Take(",")) return std::nullopt;
  if (Take("}")) return std::pair(*min, RegexNode::kEndless);
  const auto max = ParseNumber();
  if (!max || *max < *min || !Take("}")) return std::nullopt;
  return std::pair(*min, *max);
}

/// What follows \x or \u: two digits, {digits}, or four.
std::optional<char32_t> RegexParser::ParseHexadecimal() {
  std::size_t length = rest_[0] == 'u' ? 4 : 2;
  const bool braces = rest_.starts_with("x{");
  rest_.remove_prefix(braces ? 2 : 1);
  if (braces) length = std::min(rest_.find('}'), rest_.size());
  if (length == 0 || length > 6 || rest_.size() < length + (braces ? 1U : 0U)) return std::nullopt;
  char32_t code = 0;
  for (const char c : rest_.substr(0, length)) {
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return std::nullopt;
    const int lower = std::tolower(static_cast<unsigned char>(c));
    code = code * 16 + static_cast<char32_t>(lower <= '9' ? lower - '0' : lower - 'a' + 10);
  }
  rest_.remove_prefix(length + (braces ? 1 : 0));
  // A byte of the text and no character where it is written with two digits.
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) || (code >= 0x80 && length == 2 && !braces))
    return std::nullopt;
  return code;
}

/// The character that \n, \x41 or \. stands for; the backslash has been taken.
std::optional<char32_t> RegexParser::ParseEscapedCharacter() {
  if (rest_.empty()) return std::nullopt;
  if (rest_[0] == 'x' || rest_[0] == 'u') return ParseHexadecimal();
  static constexpr std::pair<char, char32_t> kControls[] = {
      {'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'f', '\f'}, {'v', '\v'}, {'a', '\a'}, {'e', 0x1B}};
  const char c = rest_[0];
  for (const auto& [letter, code] : kControls) {
    if (c != letter) continue;
    rest_.remove_prefix(1);
    return code;
  }
  if (kSigns.find(c) == std::string_view::npos) return std::nullopt;
  rest_.remove_prefix(1);
  return static_cast<char32_t>(c);
}

/// Adds what \s, \p{L} and their like stand for; the backslash has been taken. False: it is none of them.
std::optional<bool> RegexParser::ParseEscapedClass(CharacterSet& set, bool in_brackets) {
  using Property = CharacterSet::Property;
  static constexpr std::pair<char, Property> kProperties[] = {
      {'s', Property::kWhiteSpace}, {'w', Property::kWordAlone}, {'d', Property::kDigit}};
  if (rest_.empty()) return std::nullopt;
  const char c = rest_[0];
  for (const auto& [letter, property] : kProperties) {
    if ((c | 0x20) != letter) continue;
    rest_.remove_prefix(1);
    const bool word = property == Property::kWordAlone && in_brackets;
    set.AddProperty(word ? Property::kWord : property, c != letter);
    return true;
  }
  if (c != 'p' && c != 'P') return false;
  bool negated = c == 'P';
  rest_.remove_prefix(1);
  if (!Take("{")) return std::nullopt;
  if (Take("^")) negated = !negated;
  const std::size_t end = rest_.find('}');
  const std::uint32_t bits = CategoryNamed(rest_.substr(0, end));
  if (end == std::string_view::npos || bits == 0) return std::nullopt;
  rest_.remove_prefix(end + 1);
  set.AddCategories(bits, negated);
  return true;
}

RegexParser::Index RegexParser::ParseEscape(bool ignore_case) {
  if (Take("A")) return Add({.kind = Kind::kTextBegin});
  if (Take("z")) return Add({.kind = Kind::kTextEnd});
  if (Take("b")) return Add({.kind = Kind::kWordEdge});
  if (Take("B")) return Add({.kind = Kind::kWordEdge, .negated = true});
  CharacterSet set;
  const auto is_class = ParseEscapedClass(set, /*in_brackets=*/false);
  if (!is_class) return std::nullopt;
  if (*is_class) return AddSet(std::move(set), false);
  const auto code = ParseEscapedCharacter();
  return code ? AddCharacter(*code, ignore_case) : std::nullopt;
}

/// What follows a bracket, up to the one that closes it.
std::optional<CharacterSet> RegexParser::ParseClass(int nesting) {
  if (nesting > kMaxNesting) return std::nullopt;
  CharacterSet set;
  if (Take("^")) set.Negate();
  bool empty = true;
  while (!Take("]")) {
    if (rest_.empty() || rest_.starts_with("[:") || rest_.starts_with("&&")) return std::nullopt;
    if (rest_[0] == '-' && !empty && !rest_.starts_with("-]")) return std::nullopt;
    if (Take("[")) {
      auto inner = ParseClass(nesting + 1);
      if (!inner) return std::nullopt;
      set.AddSet(*std::move(inner));
    } else if (!ParseClassPart(set)) {
      return std::nullopt;
    }
    empty = false;
  }
  return empty ? std::nullopt : std::optional(std::move(set));
}

/// A character, a range of them, or what stands for a class. False: something that is not supported.
bool RegexParser::ParseClassPart(CharacterSet& set) {
  if (rest_[0] == '\\') {
    const std::string_view before = rest_;
    rest_.remove_prefix(1);
    const auto is_class = ParseEscapedClass(set, /*in_brackets=*/true);
    if (!is_class) return false;
    if (*is_class) return true;
    rest_ = before;
  }
  const auto take_one = [&]() { return Take("\\") ? ParseEscapedCharacter() : TakeCharacter(); };
  const auto low = take_one();
  if (!low) return false;
  char32_t high = *low;
  if (rest_.starts_with("-") && !rest_.starts_with("-]")) {
    rest_.remove_prefix(1);
    if (rest_.empty() || rest_[0] == '[') return false;
    const auto end = take_one();
    if (!end || *end < *low) return false;
    high = *end;
  }
  set.AddRange(*low, high);
  return true;
}

}  // namespace

std::optional<RegexTree> ParseRegex(std::string_view regex) {
  return RegexParser(regex).Parse();
}

}  // namespace baton::text
