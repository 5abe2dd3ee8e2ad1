#include "common/grammar/pattern.h"

#include <algorithm>
#include <string>

#include "common/base/error.h"
#include "common/base/utf8.h"

namespace baton::grammar {
namespace {

using Kind = PatternNode::Kind;
using Ranges = std::vector<CodeRange>;

constexpr std::size_t kBytesMax = 1024;
constexpr int kDepthMax = 50;
constexpr std::int64_t kCountMax = 2000;
constexpr char32_t kLast = 0x10FFFF;

std::int64_t Plus(std::int64_t a, std::int64_t b) {
  return a == PatternNode::kEndless || b == PatternNode::kEndless ? PatternNode::kEndless : a + b;
}

std::int64_t Times(std::int64_t a, std::int64_t b) {
  if (a == 0 || b == 0) return 0;
  if (a >= PatternNode::kEndless / b) return PatternNode::kEndless;
  return a * b;
}

/// Rising, apart, and without surrogates, which no JSON text of ours holds.
Ranges Ordered(Ranges ranges) {
  Ranges out;
  std::ranges::sort(ranges);
  for (const auto& [first, last] : ranges) {
    if (!out.empty() && first <= out.back().second + 1) {
      out.back().second = std::max(out.back().second, last);
    } else {
      out.emplace_back(first, last);
    }
  }
  Ranges whole;
  for (const auto& [first, last] : out) {
    if (first < 0xD800) whole.emplace_back(first, std::min<char32_t>(last, 0xD7FF));
    if (last > 0xDFFF) whole.emplace_back(std::max<char32_t>(first, 0xE000), last);
  }
  return whole;
}

Ranges Without(const Ranges& ranges) {
  Ranges out;
  char32_t next = 0;
  for (const auto& [first, last] : Ordered(ranges)) {
    if (first > next) out.emplace_back(next, first - 1);
    next = last + 1;
  }
  if (next <= kLast) out.emplace_back(next, kLast);
  return Ordered(std::move(out));
}

/// What \d, \w, \s and their opposites stand for; nothing for another letter.
std::optional<Ranges> ClassNamed(char32_t letter) {
  static const Ranges kDigits = {{'0', '9'}};
  static const Ranges kWords = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  static const Ranges kSpaces = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                                 {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                 {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
  switch (letter) {
    case 'd':
      return kDigits;
    case 'w':
      return kWords;
    case 's':
      return kSpaces;
    case 'D':
      return Without(kDigits);
    case 'W':
      return Without(kWords);
    case 'S':
      return Without(kSpaces);
    default:
      return std::nullopt;
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<Pattern> Run() {
    std::vector<std::uint32_t> alternatives;
    do {
      BATON_ASSIGN_OR_RETURN(const std::uint32_t whole, WholeAlternative());
      alternatives.push_back(whole);
    } while (Accept('|'));
    if (at_ < text_.size()) return Wrong("a ')' without its '('");
    const std::uint32_t root = Add(Kind::kAlternatives, std::move(alternatives));
    out_.shortest = lengths_[root].first;
    out_.longest = lengths_[root].second;
    return std::move(out_);
  }

 private:
  [[nodiscard]] absl::Status Wrong(std::string_view what) const {
    return Error(kInvalidArgument, "at byte {}: {}", at_, what);
  }
  [[nodiscard]] bool Sees(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  bool Accept(std::string_view what) {
    if (!Sees(what)) return false;
    at_ += what.size();
    return true;
  }
  bool Accept(char what) { return Accept(std::string_view(&what, 1)); }
  char32_t Next() {
    const Utf8Step step = NextUtf8(text_.substr(at_));
    at_ += step.length;
    return step.code;
  }

  std::uint32_t Add(Kind kind, std::vector<std::uint32_t> children) {
    std::pair<std::int64_t, std::int64_t> length(0, 0);
    if (kind == Kind::kAlternatives) length.first = PatternNode::kEndless;
    for (const std::uint32_t child : children) {
      const auto& [least, most] = lengths_[child];
      if (kind == Kind::kAlternatives) {
        length = {std::min(length.first, least), std::max(length.second, most)};
      } else {
        length = {Plus(length.first, least), Plus(length.second, most)};
      }
    }
    return Keep({.kind = kind, .children = std::move(children)}, length);
  }
  std::uint32_t AddSet(Ranges ranges) {
    const auto known = std::ranges::find(out_.sets, ranges);
    const auto set = static_cast<std::uint32_t>(known - out_.sets.begin());
    if (known == out_.sets.end()) out_.sets.push_back(std::move(ranges));
    return Keep({.kind = Kind::kSet, .children = {}, .set = set}, {1, 1});
  }
  std::uint32_t AddRepeat(std::uint32_t child, std::int64_t least, std::int64_t most) {
    const auto& [shortest, longest] = lengths_[child];
    return Keep({.kind = Kind::kRepeat, .children = {child}, .set = 0, .least = least, .most = most},
                {Times(shortest, least), Times(longest, most)});
  }
  std::uint32_t AddAnything() { return AddRepeat(AddSet(Ordered({{0, kLast}})), 0, PatternNode::kEndless); }
  std::uint32_t Keep(PatternNode node, std::pair<std::int64_t, std::int64_t> length) {
    out_.nodes.push_back(std::move(node));
    lengths_.push_back(length);
    return static_cast<std::uint32_t>(out_.nodes.size() - 1);
  }

  /// One of the whole expression's, with what may stand around it.
  absl::StatusOr<std::uint32_t> WholeAlternative() {
    std::vector<std::uint32_t> parts;
    if (!Accept('^')) parts.push_back(AddAnything());
    BATON_ASSIGN_OR_RETURN(const std::uint32_t inner, Sequence(0));
    parts.push_back(inner);
    if (!Accept('$')) parts.push_back(AddAnything());
    if (at_ < text_.size() && !Sees("|") && !Sees(")")) return Wrong("something after '$'");
    return Add(Kind::kSequence, std::move(parts));
  }

  absl::StatusOr<std::uint32_t> Alternatives(int depth) {
    if (depth > kDepthMax) return Wrong("groups nested too deep");
    std::vector<std::uint32_t> alternatives;
    do {
      BATON_ASSIGN_OR_RETURN(const std::uint32_t one, Sequence(depth));
      alternatives.push_back(one);
    } while (Accept('|'));
    return Add(Kind::kAlternatives, std::move(alternatives));
  }

  absl::StatusOr<std::uint32_t> Sequence(int depth) {
    std::vector<std::uint32_t> parts;
    while (at_ < text_.size() && !Sees("|") && !Sees(")") && !Sees("$")) {
      BATON_ASSIGN_OR_RETURN(const std::uint32_t atom, Atom(depth));
      BATON_ASSIGN_OR_RETURN(const std::uint32_t part, Quantified(atom));
      parts.push_back(part);
    }
    if (depth > 0 && Sees("$")) return Wrong("'$' inside a group is not supported");
    return Add(Kind::kSequence, std::move(parts));
  }

  absl::StatusOr<std::uint32_t> Atom(int depth) {
    if (Accept('(')) return Group(depth);
    if (Accept('[')) return Class();
    if (Accept('.')) return AddSet(Without({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    if (Sees("^")) return Wrong("'^' elsewhere than at the begin is not supported");
    if (Sees("*") || Sees("+") || Sees("?") || Sees("{")) return Wrong("nothing to repeat");
    if (Accept('\\')) {
      BATON_ASSIGN_OR_RETURN(Ranges ranges, Escape(/*in_class=*/false));
      return AddSet(std::move(ranges));
    }
    const char32_t code = Next();
    return AddSet({{code, code}});
  }

  absl::StatusOr<std::uint32_t> Group(int depth) {
    if (Sees("?=") || Sees("?!") || Sees("?<=") || Sees("?<!")) return Wrong("look-around is not supported");
    if (Accept("?<")) {
      at_ = std::min(text_.find('>', at_), text_.size());
      if (!Accept('>')) return Wrong("a name without its '>'");
    } else if (Sees("?") && !Accept("?:")) {
      return Wrong("this kind of group is not supported");
    }
    BATON_ASSIGN_OR_RETURN(const std::uint32_t inner, Alternatives(depth + 1));
    if (!Accept(')')) return Wrong("a '(' without its ')'");
    return inner;
  }

  absl::StatusOr<std::uint32_t> Quantified(std::uint32_t atom) {
    std::int64_t least = 0;
    std::int64_t most = PatternNode::kEndless;
    if (Accept('+')) {
      least = 1;
    } else if (Accept('?')) {
      most = 1;
    } else if (Accept('{')) {
      const auto from = Number();
      if (!from) return Wrong("a count expected, of at most 2000");
      least = most = *from;
      if (Accept(',')) {
        const auto to = Sees("}") ? std::optional(PatternNode::kEndless) : Number();
        if (!to || *to < least) return Wrong("a count expected, of at most 2000 and no less than the first");
        most = *to;
      }
      if (!Accept('}')) return Wrong("a '{' without its '}'");
    } else if (!Accept('*')) {
      return atom;
    }
    Accept('?');  // which match is found is nothing to a whole string
    return AddRepeat(atom, least, most);
  }

  std::optional<std::int64_t> Number() {
    std::int64_t number = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && number <= kCountMax)
      number = number * 10 + (text_[at_++] - '0');
    return at_ == begin || number > kCountMax ? std::nullopt : std::optional(number);
  }

  absl::StatusOr<std::uint32_t> Class() {
    const bool negated = Accept('^');
    Ranges ranges;
    while (!Accept(']')) {
      if (at_ == text_.size()) return Wrong("a '[' without its ']'");
      BATON_ASSIGN_OR_RETURN(const Ranges first, ClassMember());
      ranges.insert(ranges.end(), first.begin(), first.end());
      if (!Sees("-") || Sees("-]")) continue;
      Accept('-');
      if (at_ == text_.size()) return Wrong("a '[' without its ']'");
      BATON_ASSIGN_OR_RETURN(const Ranges last, ClassMember());
      if (first.size() != 1 || last.size() != 1 || first[0].first != first[0].second ||
          last[0].first != last[0].second || last[0].first < first[0].first)
        return Wrong("no range from one character to a later one");
      ranges.emplace_back(first[0].first, last[0].first);
    }
    ranges = negated ? Without(ranges) : Ordered(std::move(ranges));
    return AddSet(std::move(ranges));
  }

  absl::StatusOr<Ranges> ClassMember() {
    if (Accept('\\')) return Escape(/*in_class=*/true);
    const char32_t code = Next();
    return Ranges{{code, code}};
  }

  /// What stands behind a backslash.
  absl::StatusOr<Ranges> Escape(bool in_class) {
    if (at_ == text_.size()) return Wrong("a lone backslash at the end");
    const char32_t letter = Next();
    if (auto named = ClassNamed(letter)) return *std::move(named);
    if (letter == 'x') return Hex(2);
    if (letter == 'u') return Hex(4);
    constexpr std::string_view kLetters = "nrtfv0";
    constexpr std::string_view kMeanings("\n\r\t\f\v\0", 6);
    if (letter < 0x80) {
      const auto place = kLetters.find(static_cast<char>(letter));
      if (place != std::string_view::npos) return One(static_cast<unsigned char>(kMeanings[place]));
      if (in_class && letter == 'b') return One('\b');
      const bool word = (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
                        (letter >= 'A' && letter <= 'Z');
      if (word) return Wrong("this escape is not supported: \\d, \\w, \\s, characters and their codes are");
    }
    return One(letter);
  }
  static Ranges One(char32_t code) { return {{code, code}}; }

  absl::StatusOr<Ranges> Hex(int digits) {
    char32_t code = 0;
    for (int i = 0; i < digits; ++i) {
      const char digit = at_ < text_.size() ? text_[at_++] : '\0';
      std::size_t value = std::string_view("0123456789abcdefABCDEF").find(digit);
      if (digit == '\0' || value == std::string_view::npos) return Wrong("a hexadecimal digit expected");
      if (value > 15) value -= 6;
      code = code * 16 + static_cast<char32_t>(value);
    }
    if (code >= 0xD800 && code <= 0xDFFF) return Wrong("half of a surrogate pair is not supported");
    return One(code);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Pattern out_;
  std::vector<std::pair<std::int64_t, std::int64_t>> lengths_;  // of the nodes, least and most characters
};

}  // namespace

absl::StatusOr<Pattern> ParsePattern(std::string_view text) {
  if (text.size() > kBytesMax)
    return Error(kInvalidArgument, "{} bytes, at most {} allowed", text.size(), kBytesMax);
  return Parser(text).Run();
}

}  // namespace baton::grammar
