#include "common/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "common/base/check.h"
#include "common/text/jinja/formatting.h"
#include "common/text/jinja/printing.h"
#include "common/text/jinja/python_text.h"

namespace baton::text::jinja {
namespace {

std::string_view SpellingOf(BinaryOperator op) {
  switch (op) {
    case BinaryOperator::kAdd:
      return "+";
    case BinaryOperator::kSubtract:
      return "-";
    case BinaryOperator::kMultiply:
      return "*";
    case BinaryOperator::kDivide:
      return "/";
    case BinaryOperator::kFloorDivide:
      return "//";
    case BinaryOperator::kModulo:
      return "%";
    case BinaryOperator::kPower:
      return "**";
    case BinaryOperator::kConcatenate:
      return "~";
    case BinaryOperator::kEqual:
      return "==";
    case BinaryOperator::kNotEqual:
      return "!=";
    case BinaryOperator::kLess:
      return "<";
    case BinaryOperator::kLessEqual:
      return "<=";
    case BinaryOperator::kGreater:
      return ">";
    case BinaryOperator::kGreaterEqual:
      return ">=";
    case BinaryOperator::kIn:
      return "in";
    case BinaryOperator::kNotIn:
      return "not in";
    case BinaryOperator::kAnd:
      return "and";
    case BinaryOperator::kOr:
      return "or";
  }
  BATON_CHECK(false, "no such operator");
}

absl::Status Unfit(BinaryOperator op, const Value& left, const Value& right) {
  return Error(kInvalidArgument, "'{}' between {} and {}", SpellingOf(op), left.KindName(), right.KindName());
}

/// The value as a whole number: True counts as 1.
std::optional<std::int64_t> Whole(const Value& value) {
  if (value.AsInt() != nullptr) return *value.AsInt();
  if (value.AsBool() != nullptr) return *value.AsBool() ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Number(const Value& value) {
  if (value.AsFloat() != nullptr) return *value.AsFloat();
  const std::optional<std::int64_t> whole = Whole(value);
  return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

/// Whether base ** exponent does not fit; else it is in `result`. At most 63 rounds unless base is -1, 0
/// or 1.
bool PowerOverflows(std::int64_t base, std::int64_t exponent, std::int64_t& result) {
  if (base == 0 || base == 1 || base == -1) {
    result = exponent == 0 ? 1 : exponent % 2 == 0 ? base * base : base;
    return false;
  }
  result = 1;
  for (std::int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) return true;
  }
  return false;
}

absl::StatusOr<Value> WholeArithmetic(BinaryOperator op, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == BinaryOperator::kAdd) {
    overflow = __builtin_add_overflow(left, right, &result);
  } else if (op == BinaryOperator::kSubtract) {
    overflow = __builtin_sub_overflow(left, right, &result);
  } else if (op == BinaryOperator::kMultiply) {
    overflow = __builtin_mul_overflow(left, right, &result);
  } else if (op == BinaryOperator::kPower) {
    overflow = PowerOverflows(left, right, result);
  } else if (right == 0) {
    return Error(kInvalidArgument, "{} by zero", op == BinaryOperator::kModulo ? "modulo" : "division");
  } else if (op == BinaryOperator::kFloorDivide) {
    overflow = right == -1 && __builtin_sub_overflow(0, left, &result);
    if (right != -1) result = left / right - ((left % right != 0 && (left < 0) != (right < 0)) ? 1 : 0);
  } else if (right != -1) {  // the remainder by -1 is 0, and INT64_MIN % -1 a trap
    result = left % right;
    if (result != 0 && (result < 0) != (right < 0)) result += right;  // the sign of the divisor, as in Python
  }
  if (overflow) return Error(kInvalidArgument, "'{}' of integers overflows", SpellingOf(op));
  return Value(result);
}

absl::StatusOr<Value> FloatArithmetic(BinaryOperator op, double x, double y) {
  if (op == BinaryOperator::kAdd) return Value(x + y);
  if (op == BinaryOperator::kSubtract) return Value(x - y);
  if (op == BinaryOperator::kMultiply) return Value(x * y);
  if (op == BinaryOperator::kPower) return Value(std::pow(x, y));
  if (y == 0.0) return Error(kInvalidArgument, "division by zero");
  if (op == BinaryOperator::kDivide) return Value(x / y);
  if (op == BinaryOperator::kFloorDivide) return Value(std::floor(x / y));
  const double rest = std::fmod(x, y);
  return Value(rest != 0.0 && (rest < 0) != (y < 0) ? rest + y : rest);
}

absl::StatusOr<Value> Arithmetic(BinaryOperator op, const Value& left, const Value& right) {
  const auto a = Whole(left);
  const auto b = Whole(right);
  const bool whole = op != BinaryOperator::kDivide && (op != BinaryOperator::kPower || (b && *b >= 0));
  if (a && b && whole) return WholeArithmetic(op, *a, *b);
  const auto x = Number(left);
  const auto y = Number(right);
  if (!x || !y) return Unfit(op, left, right);
  return FloatArithmetic(op, *x, *y);
}

absl::StatusOr<Value> Joined(std::string_view left, std::string_view right, Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Make(left.size() + right.size()));
  std::string text;
  text.reserve(left.size() + right.size());
  text.append(left).append(right);
  return Value(std::move(text));
}

absl::StatusOr<Value> Add(const Value& left, const Value& right, Budget& budget) {
  if (left.AsString() != nullptr && right.AsString() != nullptr) {
    return Joined(*left.AsString(), *right.AsString(), budget);
  }
  if (left.AsList() != nullptr && right.AsList() != nullptr) {
    BATON_RETURN_IF_ERROR(budget.Make((left.AsList()->size() + right.AsList()->size()) * sizeof(Value)));
    Value::List list = *left.AsList();
    list.insert(list.end(), right.AsList()->begin(), right.AsList()->end());
    return left.IsTuple() && right.IsTuple() ? Value::Tuple(std::move(list)) : Value(std::move(list));
  }
  return Arithmetic(BinaryOperator::kAdd, left, right);
}

/// A string or a list, `count` times.
absl::StatusOr<Value> Repeat(const Value& what, std::int64_t count, Budget& budget) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  const std::size_t size =
      what.AsString() != nullptr ? what.AsString()->size() : what.AsList()->size() * sizeof(Value);
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(size, times, &bytes)) bytes = SIZE_MAX;
  BATON_RETURN_IF_ERROR(budget.Make(bytes));
  if (size == 0) return what;
  if (const std::string* text = what.AsString()) {
    std::string repeated;
    repeated.reserve(bytes);
    for (std::size_t i = 0; i < times; ++i) repeated += *text;
    return Value(std::move(repeated));
  }
  Value::List list;
  for (std::size_t i = 0; i < times; ++i)
    list.insert(list.end(), what.AsList()->begin(), what.AsList()->end());
  return what.IsTuple() ? Value::Tuple(std::move(list)) : Value(std::move(list));
}

absl::StatusOr<Value> Multiply(const Value& left, const Value& right, Budget& budget) {
  const auto repeats = [](const Value& value) {
    return value.AsString() != nullptr || value.AsList() != nullptr;
  };
  if (repeats(left) && Whole(right)) return Repeat(left, *Whole(right), budget);
  if (repeats(right) && Whole(left)) return Repeat(right, *Whole(left), budget);
  return Arithmetic(BinaryOperator::kMultiply, left, right);
}

absl::StatusOr<Value> Concatenate(const Value& left, const Value& right, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string a, Printed(left, budget));
  BATON_ASSIGN_OR_RETURN(const std::string b, Printed(right, budget));
  return Joined(a, b, budget);
}

absl::StatusOr<Value> OrderOfLists(BinaryOperator op, const Value& left, const Value& right, Budget& budget) {
  const bool strict = op == BinaryOperator::kLess || op == BinaryOperator::kGreater;
  const bool straight = op == BinaryOperator::kLess || op == BinaryOperator::kGreaterEqual;
  BATON_ASSIGN_OR_RETURN(const bool less, straight ? Less(left, right, budget) : Less(right, left, budget));
  return Value(less == strict);
}

absl::StatusOr<Value> Order(BinaryOperator op, const Value& left, const Value& right, Budget& budget) {
  if (left.AsList() != nullptr && right.AsList() != nullptr) return OrderOfLists(op, left, right, budget);
  std::partial_ordering order = std::partial_ordering::unordered;
  if (left.AsString() != nullptr && right.AsString() != nullptr) {
    BATON_RETURN_IF_ERROR(budget.Look(std::min(left.AsString()->size(), right.AsString()->size())));
    order = *left.AsString() <=> *right.AsString();  // UTF-8 sorts as its characters do
  } else if (Whole(left) && Whole(right)) {
    order = *Whole(left) <=> *Whole(right);
  } else if (Number(left) && Number(right)) {
    order = *Number(left) <=> *Number(right);
  } else {
    return Unfit(op, left, right);
  }
  if (op == BinaryOperator::kLess) return Value(order < 0);
  if (op == BinaryOperator::kLessEqual) return Value(order <= 0);
  return op == BinaryOperator::kGreater ? Value(order > 0) : Value(order >= 0);
}

absl::StatusOr<bool> Contains(BinaryOperator op, const Value& element, const Value& whole, Budget& budget) {
  if (whole.IsUndefined()) return false;
  if (const Value::List* list = whole.AsList()) {
    for (const Value& each : *list) {
      BATON_ASSIGN_OR_RETURN(const bool equal, Equal(each, element, budget));
      if (equal) return true;
    }
    return false;
  }
  if (whole.AsDict() != nullptr) {
    BATON_RETURN_IF_ERROR(budget.Look(whole.AsDict()->size()));
    return element.AsString() != nullptr && !whole.Member(*element.AsString()).IsUndefined();
  }
  if (whole.AsString() != nullptr && element.AsString() != nullptr) {
    BATON_RETURN_IF_ERROR(budget.Look(whole.AsString()->size()));
    return whole.AsString()->find(*element.AsString()) != std::string::npos;
  }
  return Unfit(op, element, whole);
}

absl::StatusOr<bool> EqualLists(const Value& left, const Value& right, Budget& budget) {
  const Value::List& a = *left.AsList();
  const Value::List& b = *right.AsList();
  if (a.size() != b.size() || left.IsTuple() != right.IsTuple()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(const bool equal, Equal(a[i], b[i], budget));
    if (!equal) return false;
  }
  return true;
}

absl::StatusOr<bool> EqualDicts(const Value::Dict& left, const Value& right, Budget& budget) {
  if (left.size() != right.AsDict()->size()) return false;
  for (const auto& [key, member] : left) {
    BATON_RETURN_IF_ERROR(budget.Look(left.size()));
    const Value other = right.Member(key);
    if (other.IsUndefined()) return false;
    BATON_ASSIGN_OR_RETURN(const bool equal, Equal(member, other, budget));
    if (!equal) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<bool> Equal(const Value& left, const Value& right, Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Step());
  if (Whole(left) && Whole(right)) return *Whole(left) == *Whole(right);
  if (Number(left) && Number(right)) return *Number(left) == *Number(right);
  if (left.AsString() != nullptr && right.AsString() != nullptr) {
    BATON_RETURN_IF_ERROR(budget.Look(std::min(left.AsString()->size(), right.AsString()->size())));
    return *left.AsString() == *right.AsString();
  }
  if (left.AsList() != nullptr && right.AsList() != nullptr) return EqualLists(left, right, budget);
  if (left.AsDict() != nullptr && right.AsDict() != nullptr) return EqualDicts(*left.AsDict(), right, budget);
  if (left.AsNamespace() != nullptr) return left.AsNamespace() == right.AsNamespace();
  if (left.AsMacro() != nullptr) return left.AsMacro() == right.AsMacro();
  return (left.IsNone() && right.IsNone()) || (left.IsUndefined() && right.IsUndefined());
}

absl::StatusOr<bool> Less(const Value& left, const Value& right, Budget& budget) {
  BATON_RETURN_IF_ERROR(budget.Step());
  if (left.AsList() != nullptr && right.AsList() != nullptr) {
    const Value::List& a = *left.AsList();
    const Value::List& b = *right.AsList();
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      BATON_ASSIGN_OR_RETURN(const bool equal, Equal(a[i], b[i], budget));
      if (!equal) return Less(a[i], b[i], budget);
    }
    return a.size() < b.size();
  }
  BATON_ASSIGN_OR_RETURN(const Value less, Order(BinaryOperator::kLess, left, right, budget));
  return *less.AsBool();
}

absl::StatusOr<Value> ApplyOperator(BinaryOperator op, const Value& left, const Value& right,
                                    Budget& budget) {
  switch (op) {
    case BinaryOperator::kAdd:
      return Add(left, right, budget);
    case BinaryOperator::kMultiply:
      return Multiply(left, right, budget);
    case BinaryOperator::kModulo:
      if (left.AsString() != nullptr) return Interpolated(*left.AsString(), right, budget);
      return Arithmetic(op, left, right);
    case BinaryOperator::kSubtract:
    case BinaryOperator::kDivide:
    case BinaryOperator::kFloorDivide:
    case BinaryOperator::kPower:
      return Arithmetic(op, left, right);
    case BinaryOperator::kConcatenate:
      return Concatenate(left, right, budget);
    case BinaryOperator::kEqual:
    case BinaryOperator::kNotEqual: {
      BATON_ASSIGN_OR_RETURN(const bool equal, Equal(left, right, budget));
      return Value(equal == (op == BinaryOperator::kEqual));
    }
    case BinaryOperator::kLess:
    case BinaryOperator::kLessEqual:
    case BinaryOperator::kGreater:
    case BinaryOperator::kGreaterEqual:
      return Order(op, left, right, budget);
    case BinaryOperator::kIn:
    case BinaryOperator::kNotIn: {
      BATON_ASSIGN_OR_RETURN(const bool contains, Contains(op, left, right, budget));
      return Value(contains == (op == BinaryOperator::kIn));
    }
    case BinaryOperator::kAnd:
    case BinaryOperator::kOr:
      break;
  }
  BATON_CHECK(false, "the evaluator does '{}' itself", SpellingOf(op));
}

absl::StatusOr<Value> NegateNumber(const Value& value) {
  if (const auto whole = Whole(value)) return WholeArithmetic(BinaryOperator::kSubtract, 0, *whole);
  if (value.AsFloat() != nullptr) return Value(-*value.AsFloat());
  return Error(kInvalidArgument, "'-' before {}", value.KindName());
}

}  // namespace baton::text::jinja
