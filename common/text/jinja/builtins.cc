#include "common/text/jinja/builtins.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>

#include "common/base/error.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/python_text.h"

namespace baton::text::jinja {
namespace {

using Arguments = std::vector<Value>;

absl::StatusOr<Value> StripOf(std::string_view text, Ends ends, const Arguments& arguments, Budget& budget) {
  std::optional<std::string_view> characters;
  if (!arguments.empty() && !arguments[0].IsNone()) {
    if (arguments[0].AsString() == nullptr) {
      return Error(kInvalidArgument, "the characters to strip are {}, not string", arguments[0].KindName());
    }
    characters = *arguments[0].AsString();
  }
  const std::string_view stripped = Strip(text, ends, characters);
  BATON_RETURN_IF_ERROR(budget.Make(stripped.size()));
  return Value(std::string(stripped));
}

// Filters.

absl::StatusOr<Value> Trim(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string text, Printed(subject));
  return StripOf(text, Ends::kBoth, arguments, budget);
}

absl::StatusOr<Value> Length(const Value& subject, const Arguments&, Budget&) {
  const auto count = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
  if (subject.IsUndefined()) return count(0);
  if (subject.AsString() != nullptr) return count(CharacterCount(*subject.AsString()));
  if (subject.AsList() != nullptr) return count(subject.AsList()->size());
  if (subject.AsDict() != nullptr) return count(subject.AsDict()->size());
  return Error(kInvalidArgument, "the length of {}", subject.KindName());
}

// Tests.

absl::StatusOr<Value> IsDefined(const Value& subject, const Arguments&, Budget&) {
  return Value(!subject.IsUndefined());
}
absl::StatusOr<Value> IsUndefined(const Value& subject, const Arguments&, Budget&) {
  return Value(subject.IsUndefined());
}
absl::StatusOr<Value> IsNone(const Value& subject, const Arguments&, Budget&) {
  return Value(subject.IsNone());
}
absl::StatusOr<Value> IsString(const Value& subject, const Arguments&, Budget&) {
  return Value(subject.AsString() != nullptr);
}
absl::StatusOr<Value> IsMapping(const Value& subject, const Arguments&, Budget&) {
  return Value(subject.AsDict() != nullptr);
}
absl::StatusOr<Value> IsIterable(const Value& subject, const Arguments&, Budget&) {
  return Value(subject.IsUndefined() || subject.AsString() != nullptr || subject.AsList() != nullptr ||
               subject.AsDict() != nullptr);
}
absl::StatusOr<Value> IsTrue(const Value& subject, const Arguments&, Budget&) {
  return Value(subject.AsBool() != nullptr && *subject.AsBool());
}
absl::StatusOr<Value> IsFalse(const Value& subject, const Arguments&, Budget&) {
  return Value(subject.AsBool() != nullptr && !*subject.AsBool());
}

// Methods, all of strings.

absl::StatusOr<const std::string*> TextOf(const Value& subject, std::string_view method) {
  if (subject.AsString() != nullptr) return subject.AsString();
  return Error(kInvalidArgument, "{} has no method '{}'", subject.KindName(), method);
}

absl::StatusOr<Value> StripBoth(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string* text, TextOf(subject, "strip"));
  return StripOf(*text, Ends::kBoth, arguments, budget);
}
absl::StatusOr<Value> StripLeft(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string* text, TextOf(subject, "lstrip"));
  return StripOf(*text, Ends::kLeft, arguments, budget);
}
absl::StatusOr<Value> StripRight(const Value& subject, const Arguments& arguments, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string* text, TextOf(subject, "rstrip"));
  return StripOf(*text, Ends::kRight, arguments, budget);
}

constexpr std::array<Builtin, 3> kFilters = {{
    {"length", 0, &Length},
    {"count", 0, &Length},
    {"trim", 1, &Trim},
}};

constexpr std::array<Builtin, 8> kTests = {{
    {"defined", 0, &IsDefined},
    {"undefined", 0, &IsUndefined},
    {"none", 0, &IsNone},
    {"string", 0, &IsString},
    {"mapping", 0, &IsMapping},
    {"iterable", 0, &IsIterable},
    {"true", 0, &IsTrue},
    {"false", 0, &IsFalse},
}};

constexpr std::array<Builtin, 3> kMethods = {{
    {"strip", 1, &StripBoth},
    {"lstrip", 1, &StripLeft},
    {"rstrip", 1, &StripRight},
}};

const Builtin* Find(std::span<const Builtin> table, std::string_view name) {
  const auto row = std::ranges::find(table, name, &Builtin::name);
  return row == table.end() ? nullptr : &*row;
}

}  // namespace

const Builtin* FindFilter(std::string_view name) {
  return Find(kFilters, name);
}
const Builtin* FindTest(std::string_view name) {
  return Find(kTests, name);
}
const Builtin* FindMethod(std::string_view name) {
  return Find(kMethods, name);
}

}  // namespace baton::text::jinja
