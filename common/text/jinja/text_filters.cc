#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/jinja/builtins.h"
#include "common/text/jinja/formatting.h"
#include "common/text/jinja/printing.h"
#include "common/text/jinja/python_text.h"
#include "common/text/jinja/text_builtins.h"
#include "common/text/unicode.h"

namespace baton::text::jinja {

absl::StatusOr<Value> Made(std::string text, Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Make(text.size()));
  return Value(std::move(text));
}

absl::StatusOr<Value> Replaced(std::string_view text, std::string_view old, std::string_view with,
                               std::int64_t count, Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Make(text.size()));
  std::string out;
  std::size_t at = 0;
  for (; count != 0 && at <= text.size(); --count) {
    const std::size_t found = text.find(old, at);
    if (found == std::string_view::npos) break;
    BATON_RETURN_IF_ERROR(budget.Make(with.size()));
    out.append(text.substr(at, found - at)).append(with);
    at = found + old.size();
    if (!old.empty()) continue;
    if (at == text.size()) return Value(std::move(out));  // one after the last character too
    const std::size_t length = Characters(text.substr(at, 4)).front().size();
    out.append(text.substr(at, length));
    at += length;
  }
  if (at < text.size()) out.append(text.substr(at));
  return Value(std::move(out));
}

absl::StatusOr<Value> Joined(const Value::List& list, std::string_view separator, Budget& budget) {
  std::string out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    BATON_RETURN_IF_ERROR(budget.Make(separator.size()));
    if (i > 0) out += separator;
    BATON_ASSIGN_OR_RETURN(const std::string text, Printed(list[i], budget));
    out += text;
  }
  return Value(std::move(out));
}

absl::StatusOr<std::string> TextArgument(const Value& argument, std::string_view fallback) {
  if (argument.IsUndefined()) return std::string(fallback);
  if (argument.AsString() != nullptr) return *argument.AsString();
  return Error(kInvalidArgument, "a string expected, {} found", argument.KindName());
}

absl::StatusOr<std::int64_t> WholeArgument(const Value& argument, std::int64_t fallback) {
  if (argument.IsUndefined() || argument.IsNone()) return fallback;
  if (argument.AsInt() != nullptr) return *argument.AsInt();
  if (argument.AsBool() != nullptr) return *argument.AsBool() ? 1 : 0;
  return Error(kInvalidArgument, "an integer expected, {} found", argument.KindName());
}

namespace {

absl::StatusOr<Value> Trim(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string text, Printed(subject, budget));
  std::optional<std::string> characters;
  if (!arguments[0].IsUndefined() && !arguments[0].IsNone()) {
    BATON_ASSIGN_OR_RETURN(characters, TextArgument(arguments[0], ""));
  }
  return Made(std::string(Strip(text, Ends::kBoth, characters)), budget);
}

template <auto kFunction>
absl::StatusOr<Value> OfText(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string text, Printed(subject, budget));
  return Made(kFunction(text), budget);
}
std::string TitleFilter(std::string_view text) {
  return Titled(text, WordStart::kAfterSeparator);
}
std::string Same(std::string_view text) {
  return std::string(text);
}
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&#34;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out += c;
    }
  }
  return out;
}

absl::StatusOr<Value> Replace(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string text, Printed(subject, budget));
  BATON_ASSIGN_OR_RETURN(const std::string old, Printed(arguments[0], budget));
  BATON_ASSIGN_OR_RETURN(const std::string with, Printed(arguments[1], budget));
  BATON_ASSIGN_OR_RETURN(const std::int64_t count, WholeArgument(arguments[2], -1));
  return Replaced(text, old, with, count, budget);
}

absl::StatusOr<std::optional<std::string>> IndentOf(const Value& width) {
  if (width.IsUndefined() || width.IsNone()) return std::nullopt;
  if (width.AsString() != nullptr) return *width.AsString();
  BATON_ASSIGN_OR_RETURN(const std::int64_t count, WholeArgument(width, 0));
  if (count > 100) return Error(kInvalidArgument, "an indent of {}, at most 100 allowed", count);
  return std::string(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)), ' ');
}

absl::StatusOr<Value> ToJson(const Value& subject, const Arguments& arguments, Budget& budget) {
  JsonStyle style;
  BATON_ASSIGN_OR_RETURN(style.indent, IndentOf(arguments[0]));
  if (style.indent) style.item_separator = std::string(1, ',');
  if (const Value::List* pair = arguments[2].AsList()) {
    if (pair->size() != 2) return Error(kInvalidArgument, "tojson: two separators expected");
    BATON_ASSIGN_OR_RETURN(style.item_separator, TextArgument((*pair)[0], ""));
    BATON_ASSIGN_OR_RETURN(style.key_separator, TextArgument((*pair)[1], ""));
  }
  style.ascii = arguments[1].IsTrue();
  style.sort_keys = arguments[3].IsTrue();
  BATON_ASSIGN_OR_RETURN(std::string text, JsonOf(subject, style, budget));
  return Value(std::move(text));
}

/// indent(width=4, first=false, blank=false)
absl::StatusOr<Value> Indent(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string text, Printed(subject, budget));
  BATON_ASSIGN_OR_RETURN(const std::optional<std::string> width, IndentOf(arguments[0]));
  const std::string indent = width.value_or("    ");
  std::string out;
  bool first = true;
  for (std::string_view rest = text;; first = false) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    BATON_RETURN_IF_ERROR(budget.Make(indent.size() + line.size() + 1));
    const bool wanted = first ? arguments[1].IsTrue() : !line.empty() || arguments[2].IsTrue();
    if (wanted) out += indent;
    out += line;
    if (end == rest.size()) break;
    out += '\n';
    rest.remove_prefix(end + 1);
  }
  return Value(std::move(out));
}

std::optional<double> NumberIn(const std::string& text) {
  const std::string_view number = Strip(text, Ends::kBoth);
  double value = 0.0;
  const char* end = number.data() + number.size();
  const auto [stop, error] = std::from_chars(number.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

absl::StatusOr<Value> ToInt(const Value& subject, const Arguments& arguments, Budget&) {
  const Value fallback = arguments[0].IsUndefined() ? Value(std::int64_t{0}) : arguments[0];
  if (subject.AsInt() != nullptr) return subject;
  if (subject.AsBool() != nullptr) return Value(std::int64_t{*subject.AsBool() ? 1 : 0});
  std::optional<double> number;
  if (subject.AsFloat() != nullptr) number = *subject.AsFloat();
  if (subject.AsString() != nullptr) {
    const std::string_view text = Strip(*subject.AsString(), Ends::kBoth);
    std::int64_t whole = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, whole);
    if (error == std::errc() && stop == end) return Value(whole);
    number = NumberIn(*subject.AsString());
  }
  if (!number || !(std::abs(*number) < 9e18)) return fallback;
  return Value(static_cast<std::int64_t>(*number));
}

absl::StatusOr<Value> ToFloat(const Value& subject, const Arguments& arguments, Budget&) {
  if (subject.AsFloat() != nullptr) return subject;
  if (subject.AsInt() != nullptr) return Value(static_cast<double>(*subject.AsInt()));
  if (subject.AsBool() != nullptr) return Value(*subject.AsBool() ? 1.0 : 0.0);
  const auto number = subject.AsString() == nullptr ? std::nullopt : NumberIn(*subject.AsString());
  if (number) return Value(*number);
  return arguments[0].IsUndefined() ? Value(0.0) : arguments[0];
}

absl::StatusOr<Value> Absolute(const Value& subject, const Arguments&, Budget&) {
  if (subject.AsFloat() != nullptr) return Value(std::abs(*subject.AsFloat()));
  BATON_ASSIGN_OR_RETURN(const std::int64_t whole, WholeArgument(subject, 0));
  if (whole == INT64_MIN) return Error(kInvalidArgument, "abs of an integer overflows");
  return Value(whole < 0 ? -whole : whole);
}

absl::StatusOr<Value> Round(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const Value number, ToFloat(subject, {Value()}, budget));
  BATON_ASSIGN_OR_RETURN(const std::int64_t digits, WholeArgument(arguments[0], 0));
  BATON_ASSIGN_OR_RETURN(const std::string method, TextArgument(arguments[1], "common"));
  if (digits < 0 || digits > 15) return Error(kInvalidArgument, "round to {} digits", digits);
  const bool whole = subject.AsInt() != nullptr || subject.AsBool() != nullptr;
  if (!whole && subject.AsFloat() == nullptr)
    return Error(kInvalidArgument, "round of {}", subject.KindName());
  if (whole && method == "common") return ToInt(subject, {Value()}, budget);
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double value = *number.AsFloat() * scale;
  if (method == "ceil") return Value(std::ceil(value) / scale);
  if (method == "floor") return Value(std::floor(value) / scale);
  return Value(std::nearbyint(value) / scale);
}

/// format(a, b, ...): `%` with these values.
absl::StatusOr<Value> Format(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string text, Printed(subject, budget));
  const auto given = std::ranges::find_if(arguments, [](const Value& each) { return each.IsUndefined(); });
  return Interpolated(text, Value::Tuple(Arguments(arguments.begin(), given)), budget);
}

absl::StatusOr<Value> WordCount(const Value& subject, const Arguments&, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string text, Printed(subject, budget));
  std::int64_t words = 0;
  bool inside = false;
  for (std::string_view rest = text; !rest.empty();) {
    const Utf8Step step = NextUtf8(rest);
    const bool was_inside = std::exchange(inside, IsWordCharacter(step.code));
    if (inside && !was_inside) ++words;
    rest.remove_prefix(step.length);
  }
  return Value(words);
}

constexpr std::array kTable = std::to_array<Builtin>({
    {"trim", "chars", &Trim},
    {"upper", "", &OfText<&Upper>},
    {"lower", "", &OfText<&Lower>},
    {"capitalize", "", &OfText<&Capitalized>},
    {"title", "", &OfText<&TitleFilter>},
    {"string", "", &OfText<&Same>},
    {"safe", "", &OfText<&Same>},
    {"escape", "", &OfText<&Escaped>},
    {"e", "", &OfText<&Escaped>},
    {"replace", "old,new,count", &Replace},
    {"tojson", "indent,ensure_ascii,separators,sort_keys", &ToJson},
    {"indent", "width,first,blank", &Indent},
    {"int", "default", &ToInt},
    {"float", "default", &ToFloat},
    {"abs", "", &Absolute},
    {"round", "precision,method", &Round},
    {"format", "a,b,c,d,e,f,g,h", &Format},
    {"wordcount", "", &WordCount},
});

}  // namespace

std::span<const Builtin> TextFilters() {
  return kTable;
}

}  // namespace baton::text::jinja
