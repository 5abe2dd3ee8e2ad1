#include <algorithm>
#include <array>
#include <optional>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/jinja/builtins.h"
#include "common/text/jinja/formatting.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/python_text.h"
#include "common/text/jinja/text_builtins.h"
#include "common/text/unicode.h"

namespace baton::text::jinja {
namespace {

absl::StatusOr<std::string_view> TextOf(const Value& subject, std::string_view method) {
  if (subject.AsString() != nullptr) return *subject.AsString();
  return Error(kInvalidArgument, "{} has no method '{}'", subject.KindName(), method);
}
absl::StatusOr<const Value::Dict*> DictOf(const Value& subject, std::string_view method) {
  if (subject.AsDict() != nullptr) return subject.AsDict();
  return Error(kInvalidArgument, "{} has no method '{}'", subject.KindName(), method);
}

template <Ends kEnds>
absl::StatusOr<Value> StripOf(const Value& subject, const Arguments& arguments, Budget& budget) {
  constexpr std::string_view kName = kEnds == Ends::kBoth   ? "strip"
                                     : kEnds == Ends::kLeft ? "lstrip"
                                                            : "rstrip";
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, kName));
  std::optional<std::string> characters;
  if (!arguments[0].IsUndefined() && !arguments[0].IsNone()) {
    BATON_ASSIGN_OR_RETURN(characters, TextArgument(arguments[0], ""));
  }
  return Made(std::string(Strip(text, kEnds, characters)), budget);
}

template <auto kFunction>
absl::StatusOr<Value> OfText(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "upper, lower, capitalize or title"));
  return Made(kFunction(text), budget);
}
std::string TitleMethod(std::string_view text) {
  return Titled(text, WordStart::kAfterNonLetter);
}

/// split() without a separator: words between white space, at most `count` cuts where count >= 0.
std::vector<std::string_view> Words(std::string_view text, std::int64_t count) {
  std::vector<std::string_view> words;
  for (text = Strip(text, Ends::kLeft); !text.empty(); text = Strip(text, Ends::kLeft)) {
    if (count-- == 0) {
      words.push_back(text);
      break;
    }
    std::size_t length = 0;
    while (length < text.size()) {
      const Utf8Step step = NextUtf8(text.substr(length));
      if (IsPythonSpace(step.code)) break;
      length += step.length;
    }
    words.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return words;
}

absl::StatusOr<std::vector<std::string_view>> Pieces(std::string_view text, std::string_view separator,
                                                     std::int64_t count, bool from_right) {
  if (separator.empty()) return Error(kInvalidArgument, "empty separator");
  std::vector<std::string_view> pieces;
  while (count-- != 0) {
    const std::size_t found = from_right ? text.rfind(separator) : text.find(separator);
    if (found == std::string_view::npos) break;
    const std::string_view tail = text.substr(found + separator.size());
    pieces.push_back(from_right ? tail : text.substr(0, found));
    text = from_right ? text.substr(0, found) : tail;
  }
  pieces.push_back(text);
  if (from_right) std::ranges::reverse(pieces);
  return pieces;
}

absl::StatusOr<Value> ListOf(const std::vector<std::string_view>& pieces, Budget& budget) {
  Value::List list;
  for (const std::string_view piece : pieces) {
    BATON_RETURN_IF_ERROR(budget.Make(piece.size() + 2 * sizeof(Value)));
    list.emplace_back(std::string(piece));
  }
  return Value(std::move(list));
}

template <bool kFromRight>
absl::StatusOr<Value> Split(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "split"));
  BATON_RETURN_IF_ERROR(budget.Make(text.size()));
  BATON_ASSIGN_OR_RETURN(const std::int64_t count, WholeArgument(arguments[1], -1));
  if (arguments[0].IsUndefined() || arguments[0].IsNone()) {
    if (kFromRight && count >= 0) return Error(kInvalidArgument, "rsplit needs a separator");
    return ListOf(Words(text, count), budget);
  }
  BATON_ASSIGN_OR_RETURN(const std::string separator, TextArgument(arguments[0], ""));
  BATON_ASSIGN_OR_RETURN(const auto pieces, Pieces(text, separator, count, kFromRight));
  return ListOf(pieces, budget);
}

absl::StatusOr<Value> SplitLines(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(std::string_view text, TextOf(subject, "splitlines"));
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\n\r"), text.size());
    std::size_t next = std::min(end + 1, text.size());
    if (text.substr(end).starts_with("\r\n")) next = end + 2;
    lines.push_back(text.substr(0, arguments[0].IsTrue() ? next : end));
    text.remove_prefix(next);
  }
  return ListOf(lines, budget);
}

template <bool kAtStart>
absl::StatusOr<Value> Borders(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, kAtStart ? "startswith" : "endswith"));
  const bool several = arguments[0].IsTuple();
  for (const Value& each : several ? *arguments[0].AsList() : Value::List{arguments[0]}) {
    if (each.AsString() == nullptr) {
      return Error(kInvalidArgument, "a string or a tuple of them expected, {} found", each.KindName());
    }
    BATON_RETURN_IF_ERROR(budget.Look(each.AsString()->size()));
    if (kAtStart ? text.starts_with(*each.AsString()) : text.ends_with(*each.AsString())) return Value(true);
  }
  return Value(false);
}

absl::StatusOr<Value> ReplaceOf(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "replace"));
  if (arguments[0].IsUndefined() || arguments[1].IsUndefined()) {
    return Error(kInvalidArgument, "replace takes two strings");
  }
  BATON_ASSIGN_OR_RETURN(const std::string old, TextArgument(arguments[0], ""));
  BATON_ASSIGN_OR_RETURN(const std::string with, TextArgument(arguments[1], ""));
  BATON_ASSIGN_OR_RETURN(const std::int64_t count, WholeArgument(arguments[2], -1));
  return Replaced(text, old, with, count, budget);
}

/// list.index and list.count: the place of an element, or how many there are.
absl::StatusOr<Value> Occurrences(const Value::List& list, const Value& element, bool first, Budget& budget) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(const bool equal, Equal(list[i], element, budget));
    if (equal && first) return Value(static_cast<std::int64_t>(i));
    if (equal) ++count;
  }
  if (first) return Error(kInvalidArgument, "the list has no such element");
  return Value(count);
}

template <bool kFromRight, bool kMustBeThere>
absl::StatusOr<Value> FindOf(const Value& subject, const Arguments& arguments, Budget& budget) {
  if (kMustBeThere && subject.AsList() != nullptr)
    return Occurrences(*subject.AsList(), arguments[0], /*first=*/true, budget);
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "find"));
  BATON_RETURN_IF_ERROR(budget.Look(text.size()));
  if (arguments[0].IsUndefined()) return Error(kInvalidArgument, "a string expected");
  BATON_ASSIGN_OR_RETURN(const std::string part, TextArgument(arguments[0], ""));
  const std::size_t found = kFromRight ? text.rfind(part) : text.find(part);
  if (found == std::string_view::npos) {
    if (kMustBeThere) return Error(kInvalidArgument, "substring not found");
    return Value(std::int64_t{-1});
  }
  return Value(static_cast<std::int64_t>(CharacterCount(text.substr(0, found))));
}

absl::StatusOr<Value> CountOf(const Value& subject, const Arguments& arguments, Budget& budget) {
  if (subject.AsList() != nullptr)
    return Occurrences(*subject.AsList(), arguments[0], /*first=*/false, budget);
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "count"));
  BATON_RETURN_IF_ERROR(budget.Look(text.size()));
  BATON_ASSIGN_OR_RETURN(const std::string part, TextArgument(arguments[0], ""));
  if (part.empty()) return Value(static_cast<std::int64_t>(CharacterCount(text) + 1));
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return Value(count);
}

absl::StatusOr<Value> JoinOf(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view separator, TextOf(subject, "join"));
  BATON_ASSIGN_OR_RETURN(const Value::List list, ElementsOf(arguments[0], budget));
  for (const Value& each : list) {
    if (each.AsString() == nullptr) return Error(kInvalidArgument, "join of {}", each.KindName());
  }
  return Joined(list, separator, budget);
}

template <bool kAtStart>
absl::StatusOr<Value> Remove(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(std::string_view text, TextOf(subject, kAtStart ? "removeprefix" : "removesuffix"));
  BATON_ASSIGN_OR_RETURN(const std::string part, TextArgument(arguments[0], ""));
  if (kAtStart && text.starts_with(part)) text.remove_prefix(part.size());
  if (!kAtStart && text.ends_with(part)) text.remove_suffix(part.size());
  return Made(std::string(text), budget);
}

template <CharClass kClass>
absl::StatusOr<Value> AllAre(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "isalpha, isdigit or isspace"));
  BATON_RETURN_IF_ERROR(budget.Look(text.size()));
  const auto fits = [](char32_t code) {
    return kClass == CharClass::kSpace ? IsPythonSpace(code) : ClassOf(code) == kClass;
  };
  bool all = !text.empty();
  for (std::string_view rest = text; all && !rest.empty();) {
    const Utf8Step step = NextUtf8(rest);
    all = fits(step.code);
    rest.remove_prefix(step.length);
  }
  return Value(all);
}

absl::StatusOr<Value> FormatOf(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "format"));
  const auto given = std::ranges::find_if(arguments, [](const Value& each) { return each.IsUndefined(); });
  return Formatted(text, Value::List(arguments.begin(), given), budget);
}

template <bool kFromRight>
absl::StatusOr<Value> Partition(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "partition"));
  BATON_RETURN_IF_ERROR(budget.Make(text.size()));
  BATON_ASSIGN_OR_RETURN(const std::string separator, TextArgument(arguments[0], ""));
  BATON_ASSIGN_OR_RETURN(const auto pieces, Pieces(text, separator, 1, kFromRight));
  const auto part = [](std::string_view each) { return Value(std::string(each)); };
  if (pieces.size() == 2) return Value::Tuple({part(pieces[0]), Value(separator), part(pieces[1])});
  if (kFromRight) return Value::Tuple({part(""), part(""), part(text)});
  return Value::Tuple({part(text), part(""), part("")});
}

template <Ends kSide>
absl::StatusOr<Value> Justify(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "ljust, rjust or zfill"));
  BATON_ASSIGN_OR_RETURN(const std::int64_t width, WholeArgument(arguments[0], 0));
  BATON_ASSIGN_OR_RETURN(const std::string fill, TextArgument(arguments[1], " "));
  if (CharacterCount(fill) != 1) return Error(kInvalidArgument, "one character to fill with expected");
  const std::size_t length = CharacterCount(text);
  const std::size_t missing =
      width > std::int64_t(length) ? static_cast<std::size_t>(width) - length : std::size_t{0};
  BATON_RETURN_IF_ERROR(budget.Look(text.size()));
  if (missing > SIZE_MAX / 8) return Error(kResourceExhausted, "the template makes too much text");
  BATON_RETURN_IF_ERROR(budget.Make(missing * fill.size()));
  std::string padding;
  for (std::size_t i = 0; i < missing; ++i) padding += fill;
  return Made(kSide == Ends::kLeft ? std::string(text) + padding : padding + std::string(text), budget);
}

/// zfill: zeros after the sign.
absl::StatusOr<Value> ZeroFill(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "zfill"));
  BATON_ASSIGN_OR_RETURN(const std::int64_t width, WholeArgument(arguments[0], 0));
  const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  const Arguments rest = {Value(width - static_cast<std::int64_t>(sign)), Value(std::string("0"))};
  BATON_ASSIGN_OR_RETURN(const Value filled,
                         Justify<Ends::kRight>(Value(std::string(text.substr(sign))), rest, budget));
  return Made(std::string(text.substr(0, sign)) + *filled.AsString(), budget);
}

absl::StatusOr<Value> IsAlphanumeric(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "isalnum"));
  BATON_RETURN_IF_ERROR(budget.Look(text.size()));
  bool all = !text.empty();
  for (std::string_view rest = text; all && !rest.empty();) {
    const Utf8Step step = NextUtf8(rest);
    all = ClassOf(step.code) == CharClass::kLetter || ClassOf(step.code) == CharClass::kNumber;
    rest.remove_prefix(step.length);
  }
  return Value(all);
}

template <auto kCase>
absl::StatusOr<Value> IsCase(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string_view text, TextOf(subject, "isupper or islower"));
  BATON_RETURN_IF_ERROR(budget.Make(text.size()));
  return Value(kCase(text) == text && Upper(text) != Lower(text));
}

/// What loop.changed does is the evaluator's: it remembers.
absl::StatusOr<Value> Changed(const Value&, const Arguments&, Budget&) {
  return Error(kInvalidArgument, "changed is a method of loop");
}

// Of dicts.

absl::StatusOr<Value> Items(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const Value::Dict* dict, DictOf(subject, "items"));
  Value::List list;
  for (const auto& [key, member] : *dict) {
    BATON_RETURN_IF_ERROR(budget.Make(key.size() + 4 * sizeof(Value)));
    list.push_back(Value::Tuple({Value(key), member}));
  }
  return Value(std::move(list));
}
absl::StatusOr<Value> Keys(const Value& subject, const Arguments&, Budget& budget) {
  BATON_RETURN_IF_ERROR(DictOf(subject, "keys").status());
  BATON_ASSIGN_OR_RETURN(Value::List list, ElementsOf(subject, budget));
  return Value(std::move(list));
}
absl::StatusOr<Value> ValuesOf(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const Value::Dict* dict, DictOf(subject, "values"));
  BATON_RETURN_IF_ERROR(budget.Make(dict->size() * sizeof(Value)));
  Value::List list;
  for (const auto& [key, member] : *dict) list.push_back(member);
  return Value(std::move(list));
}
absl::StatusOr<Value> Get(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_RETURN_IF_ERROR(DictOf(subject, "get").status());
  BATON_ASSIGN_OR_RETURN(Value member, Element(subject, arguments[0], budget));
  if (!member.IsUndefined()) return member;
  return arguments[1].IsUndefined() ? Value(nullptr) : arguments[1];
}

/// What never changes is its own copy.
absl::StatusOr<Value> Copy(const Value& subject, const Arguments&, Budget&) {
  if (subject.AsDict() == nullptr && subject.AsList() == nullptr)
    return Error(kInvalidArgument, "{} has no method 'copy'", subject.KindName());
  return subject;
}

/// loop.cycle('a', 'b'): the argument of the round.
absl::StatusOr<Value> Cycle(const Value& subject, const Arguments& arguments, Budget&) {
  const Value round = subject.Member("index0");
  const auto given = std::ranges::find_if(arguments, [](const Value& each) { return each.IsUndefined(); });
  const auto count = given - arguments.begin();
  if (round.AsInt() == nullptr || *round.AsInt() < 0 || count == 0) {
    return Error(kInvalidArgument, "cycle is a method of loop and takes the values to choose from");
  }
  return arguments[static_cast<std::size_t>(*round.AsInt() % count)];
}

constexpr std::array kTable = std::to_array<Builtin>({
    {"strip", "chars", &StripOf<Ends::kBoth>},
    {"lstrip", "chars", &StripOf<Ends::kLeft>},
    {"rstrip", "chars", &StripOf<Ends::kRight>},
    {"upper", "", &OfText<&Upper>},
    {"lower", "", &OfText<&Lower>},
    {"capitalize", "", &OfText<&Capitalized>},
    {"title", "", &OfText<&TitleMethod>},
    {"split", "sep,maxsplit", &Split<false>},
    {"rsplit", "sep,maxsplit", &Split<true>},
    {"splitlines", "keepends", &SplitLines},
    {"startswith", "prefix", &Borders<true>},
    {"endswith", "suffix", &Borders<false>},
    {"replace", "old,new,count", &ReplaceOf},
    {"find", "sub", &FindOf<false, false>},
    {"rfind", "sub", &FindOf<true, false>},
    {"index", "sub", &FindOf<false, true>},
    {"count", "sub", &CountOf},
    {"join", "iterable", &JoinOf},
    {"removeprefix", "prefix", &Remove<true>},
    {"removesuffix", "suffix", &Remove<false>},
    {"isspace", "", &AllAre<CharClass::kSpace>},
    {"isdigit", "", &AllAre<CharClass::kNumber>},
    {"isalpha", "", &AllAre<CharClass::kLetter>},
    {"items", "", &Items},
    {"keys", "", &Keys},
    {"values", "", &ValuesOf},
    {"get", "key,default", &Get},
    {"cycle", "a,b,c,d,e,f,g,h", &Cycle},
    {"changed", "a,b,c,d", &Changed},
    {"format", "a,b,c,d,e,f,g,h", &FormatOf},
    {"partition", "sep", &Partition<false>},
    {"rpartition", "sep", &Partition<true>},
    {"ljust", "width,fillchar", &Justify<Ends::kLeft>},
    {"rjust", "width,fillchar", &Justify<Ends::kRight>},
    {"zfill", "width", &ZeroFill},
    {"isalnum", "", &IsAlphanumeric},
    {"copy", "", &Copy},
    {"isupper", "", &IsCase<&Upper>},
    {"islower", "", &IsCase<&Lower>},
});

}  // namespace

std::span<const Builtin> Methods() {
  return kTable;
}

}  // namespace baton::text::jinja
