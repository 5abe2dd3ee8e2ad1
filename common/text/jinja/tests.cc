#include <array>
#include <cmath>

#include "common/base/error.h"
#include "common/text/jinja/builtins.h"
#include "common/text/jinja/operators.h"
#include "common/text/jinja/python_text.h"

namespace baton::text::jinja {
namespace {

template <auto kPredicate>
absl::StatusOr<Value> Is(const Value& subject, const Arguments&, Budget&) {
  return Value(kPredicate(subject));
}
template <BinaryOperator kOperator>
absl::StatusOr<Value> Compares(const Value& subject, const Arguments& arguments, Budget& budget) {
  return ApplyOperator(kOperator, subject, arguments[0], budget);
}

bool Defined(const Value& v) {
  return !v.IsUndefined();
}
bool Undefined(const Value& v) {
  return v.IsUndefined();
}
bool None(const Value& v) {
  return v.IsNone();
}
bool String(const Value& v) {
  return v.AsString() != nullptr;
}
bool Mapping(const Value& v) {
  return v.AsDict() != nullptr;
}
bool Iterable(const Value& v) {
  return v.IsUndefined() || v.AsString() != nullptr || v.AsList() != nullptr || v.AsDict() != nullptr;
}
bool Number(const Value& v) {
  return v.AsInt() != nullptr || v.AsFloat() != nullptr || v.AsBool() != nullptr;
}
bool Integer(const Value& v) {
  return v.AsInt() != nullptr;
}
bool Float(const Value& v) {
  return v.AsFloat() != nullptr;
}
bool Boolean(const Value& v) {
  return v.AsBool() != nullptr;
}
bool True(const Value& v) {
  return v.AsBool() != nullptr && *v.AsBool();
}
bool False(const Value& v) {
  return v.AsBool() != nullptr && !*v.AsBool();
}
bool Callable(const Value& v) {
  return v.AsMacro() != nullptr;
}
bool IsUpper(const Value& v) {
  return v.AsString() != nullptr && Upper(*v.AsString()) == *v.AsString() &&
         Lower(*v.AsString()) != *v.AsString();
}
bool IsLower(const Value& v) {
  return v.AsString() != nullptr && Lower(*v.AsString()) == *v.AsString() &&
         Upper(*v.AsString()) != *v.AsString();
}

/// The identity of constants and namespaces; of the rest, kind and value.
absl::StatusOr<Value> SameAs(const Value& subject, const Arguments& arguments, Budget& budget) {
  if (subject.KindName() != arguments[0].KindName()) return Value(false);
  BATON_ASSIGN_OR_RETURN(const bool equal, Equal(subject, arguments[0], budget));
  return Value(equal);
}

absl::StatusOr<Value> Divides(const Value& subject, std::int64_t divisor, std::int64_t rest) {
  if (subject.AsInt() == nullptr) return Error(kInvalidArgument, "{} is no integer", subject.KindName());
  if (divisor == 0) return Error(kInvalidArgument, "modulo by zero");
  return Value(divisor == -1 || std::abs(*subject.AsInt() % divisor) == rest);
}
absl::StatusOr<Value> Odd(const Value& subject, const Arguments&, Budget&) {
  return Divides(subject, 2, 1);
}
absl::StatusOr<Value> Even(const Value& subject, const Arguments&, Budget&) {
  return Divides(subject, 2, 0);
}
absl::StatusOr<Value> DivisibleBy(const Value& subject, const Arguments& arguments, Budget&) {
  if (arguments[0].AsInt() == nullptr) return Error(kInvalidArgument, "divisibleby takes an integer");
  return Divides(subject, *arguments[0].AsInt(), 0);
}

constexpr std::array kTable = std::to_array<Builtin>({
    {"defined", "", &Is<&Defined>},
    {"undefined", "", &Is<&Undefined>},
    {"none", "", &Is<&None>},
    {"string", "", &Is<&String>},
    {"mapping", "", &Is<&Mapping>},
    {"iterable", "", &Is<&Iterable>},
    {"sequence", "", &Is<&Iterable>},
    {"number", "", &Is<&Number>},
    {"integer", "", &Is<&Integer>},
    {"float", "", &Is<&Float>},
    {"boolean", "", &Is<&Boolean>},
    {"true", "", &Is<&True>},
    {"false", "", &Is<&False>},
    {"callable", "", &Is<&Callable>},
    {"upper", "", &Is<&IsUpper>},
    {"lower", "", &Is<&IsLower>},
    {"odd", "", &Odd},
    {"even", "", &Even},
    {"divisibleby", "num", &DivisibleBy},
    {"sameas", "other", &SameAs},
    {"eq", "other", &Compares<BinaryOperator::kEqual>},
    {"equalto", "other", &Compares<BinaryOperator::kEqual>},
    {"==", "other", &Compares<BinaryOperator::kEqual>},
    {"ne", "other", &Compares<BinaryOperator::kNotEqual>},
    {"!=", "other", &Compares<BinaryOperator::kNotEqual>},
    {"lt", "other", &Compares<BinaryOperator::kLess>},
    {"lessthan", "other", &Compares<BinaryOperator::kLess>},
    {"<", "other", &Compares<BinaryOperator::kLess>},
    {"le", "other", &Compares<BinaryOperator::kLessEqual>},
    {"<=", "other", &Compares<BinaryOperator::kLessEqual>},
    {"gt", "other", &Compares<BinaryOperator::kGreater>},
    {"greaterthan", "other", &Compares<BinaryOperator::kGreater>},
    {">", "other", &Compares<BinaryOperator::kGreater>},
    {"ge", "other", &Compares<BinaryOperator::kGreaterEqual>},
    {">=", "other", &Compares<BinaryOperator::kGreaterEqual>},
    {"in", "seq", &Compares<BinaryOperator::kIn>},
});

}  // namespace

std::span<const Builtin> Tests() {
  return kTable;
}

}  // namespace baton::text::jinja
