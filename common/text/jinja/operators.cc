#include "common/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "common/base/check.h"
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
    case BinaryOperator::kModulo:
      return "%";
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

absl::StatusOr<Value> WholeArithmetic(BinaryOperator op, std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == BinaryOperator::kAdd) {
    overflow = __builtin_add_overflow(left, right, &result);
  } else if (op == BinaryOperator::kSubtract) {
    overflow = __builtin_sub_overflow(left, right, &result);
  } else if (op == BinaryOperator::kMultiply) {
    overflow = __builtin_mul_overflow(left, right, &result);
  } else if (right == 0) {
    return Error(kInvalidArgument, "modulo by zero");
  } else if (right != -1) {  // the remainder by -1 is 0, and INT64_MIN % -1 a trap
    result = left % right;
    if (result != 0 && (result < 0) != (right < 0)) result += right;  // the sign of the divisor, as in Python
  }
  if (overflow) return Error(kInvalidArgument, "'{}' of integers overflows", SpellingOf(op));
  return Value(result);
}

absl::StatusOr<Value> Arithmetic(BinaryOperator op, const Value& left, const Value& right) {
  const auto a = Whole(left);
  const auto b = Whole(right);
  if (a && b) return WholeArithmetic(op, *a, *b);
  const auto x = Number(left);
  const auto y = Number(right);
  if (!x || !y || op == BinaryOperator::kModulo) return Unfit(op, left, right);
  if (op == BinaryOperator::kAdd) return Value(*x + *y);
  return op == BinaryOperator::kSubtract ? Value(*x - *y) : Value(*x * *y);
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
    return Value(std::move(list));
  }
  return Arithmetic(BinaryOperator::kAdd, left, right);
}

absl::StatusOr<Value> Concatenate(const Value& left, const Value& right, Budget& budget) {
  BATON_ASSIGN_OR_RETURN(const std::string a, Printed(left));
  BATON_ASSIGN_OR_RETURN(const std::string b, Printed(right));
  return Joined(a, b, budget);
}

absl::StatusOr<Value> Order(BinaryOperator op, const Value& left, const Value& right) {
  std::partial_ordering order = std::partial_ordering::unordered;
  if (left.AsString() != nullptr && right.AsString() != nullptr) {
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

absl::StatusOr<bool> Contains(BinaryOperator op, const Value& element, const Value& whole) {
  if (whole.IsUndefined()) return false;
  if (const Value::List* list = whole.AsList()) {
    return std::ranges::any_of(*list, [&](const Value& each) { return Equal(each, element); });
  }
  if (whole.AsDict() != nullptr) {
    return element.AsString() != nullptr && !whole.Member(*element.AsString()).IsUndefined();
  }
  if (whole.AsString() != nullptr && element.AsString() != nullptr) {
    return whole.AsString()->find(*element.AsString()) != std::string::npos;
  }
  return Unfit(op, element, whole);
}

bool EqualLists(const Value::List& left, const Value::List& right) {
  return std::ranges::equal(left, right, [](const Value& a, const Value& b) { return Equal(a, b); });
}

bool EqualDicts(const Value::Dict& left, const Value& right) {
  if (left.size() != right.AsDict()->size()) return false;
  return std::ranges::all_of(left, [&](const auto& member) {
    const Value other = right.Member(member.first);
    return !other.IsUndefined() && Equal(member.second, other);
  });
}

/// A bound of a slice, counted from the front and brought within [low, high].
absl::StatusOr<std::int64_t> Bound(const Value& value, std::int64_t fallback, std::int64_t size,
                                   std::int64_t low, std::int64_t high) {
  if (value.IsNone()) return fallback;
  const auto bound = Whole(value);
  if (!bound) return Error(kInvalidArgument, "a slice by {}", value.KindName());
  return std::clamp(*bound < 0 ? *bound + size : *bound, low, high);
}

}  // namespace

bool Equal(const Value& left, const Value& right) {
  if (Whole(left) && Whole(right)) return *Whole(left) == *Whole(right);
  if (Number(left) && Number(right)) return *Number(left) == *Number(right);
  if (left.AsString() != nullptr && right.AsString() != nullptr) return *left.AsString() == *right.AsString();
  if (left.AsList() != nullptr && right.AsList() != nullptr)
    return EqualLists(*left.AsList(), *right.AsList());
  if (left.AsDict() != nullptr && right.AsDict() != nullptr) return EqualDicts(*left.AsDict(), right);
  return (left.IsNone() && right.IsNone()) || (left.IsUndefined() && right.IsUndefined());
}

absl::StatusOr<Value> ApplyOperator(BinaryOperator op, const Value& left, const Value& right,
                                    Budget& budget) {
  switch (op) {
    case BinaryOperator::kAdd:
      return Add(left, right, budget);
    case BinaryOperator::kSubtract:
    case BinaryOperator::kMultiply:
    case BinaryOperator::kModulo:
      return Arithmetic(op, left, right);
    case BinaryOperator::kConcatenate:
      return Concatenate(left, right, budget);
    case BinaryOperator::kEqual:
      return Value(Equal(left, right));
    case BinaryOperator::kNotEqual:
      return Value(!Equal(left, right));
    case BinaryOperator::kLess:
    case BinaryOperator::kLessEqual:
    case BinaryOperator::kGreater:
    case BinaryOperator::kGreaterEqual:
      return Order(op, left, right);
    case BinaryOperator::kIn:
    case BinaryOperator::kNotIn: {
      BATON_ASSIGN_OR_RETURN(const bool contains, Contains(op, left, right));
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

absl::StatusOr<Value> Element(const Value& object, const Value& index) {
  if (object.AsDict() != nullptr)
    return index.AsString() == nullptr ? Value() : object.Member(*index.AsString());
  if (const Value::List* list = object.AsList()) {
    const auto place = Whole(index);
    if (!place) return Value();
    const auto size = static_cast<std::int64_t>(list->size());
    if (*place >= size || *place < -size) return Value();
    return (*list)[static_cast<std::size_t>(*place < 0 ? *place + size : *place)];
  }
  return Error(kInvalidArgument, "a subscript of {}", object.KindName());
}

absl::StatusOr<Value> SliceOf(const Value& object, const Value& start, const Value& stop, const Value& step,
                              Budget& budget) {
  const Value::List* list = object.AsList();
  if (list == nullptr) return Error(kInvalidArgument, "a slice of {}", object.KindName());
  const auto size = static_cast<std::int64_t>(list->size());
  std::int64_t stride = 1;
  if (!step.IsNone()) {
    if (!Whole(step) || *Whole(step) == 0)
      return Error(kInvalidArgument, "a slice's step must be an integer, not 0");
    stride = std::clamp(*Whole(step), -size - 1, size + 1);  // further would only overflow
  }
  const std::int64_t low = stride > 0 ? 0 : -1;
  const std::int64_t high = stride > 0 ? size : size - 1;
  BATON_ASSIGN_OR_RETURN(const std::int64_t from, Bound(start, stride > 0 ? 0 : size - 1, size, low, high));
  BATON_ASSIGN_OR_RETURN(const std::int64_t to, Bound(stop, stride > 0 ? size : -1, size, low, high));
  BATON_RETURN_IF_ERROR(budget.Make(list->size() * sizeof(Value)));
  Value::List part;
  for (std::int64_t i = from; stride > 0 ? i < to : i > to; i += stride) {
    part.push_back((*list)[static_cast<std::size_t>(i)]);
  }
  return Value(std::move(part));
}

absl::StatusOr<std::string> Printed(const Value& value) {
  if (value.IsUndefined()) return std::string();
  if (value.IsNone()) return std::string("None");
  if (value.AsBool() != nullptr) return std::string(*value.AsBool() ? "True" : "False");
  if (value.AsInt() != nullptr) return fmt::format("{}", *value.AsInt());
  if (value.AsFloat() != nullptr) return FloatText(*value.AsFloat());
  if (value.AsString() != nullptr) return *value.AsString();
  return Error(kInvalidArgument, "printing a {} is not supported", value.KindName());
}

}  // namespace baton::text::jinja
