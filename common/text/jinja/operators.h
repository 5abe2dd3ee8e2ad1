#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/syntax.h"
#include "common/text/jinja/value.h"

/// What operators do, with Python's meaning. Errors carry no position; the evaluator knows it.
namespace baton::text::jinja {

/// Every operator but `and` and `or`, which do not evaluate their right side always.
[[nodiscard]] absl::StatusOr<Value> ApplyOperator(BinaryOperator op, const Value& left, const Value& right,
                                                  Budget& budget);
[[nodiscard]] absl::StatusOr<bool> Equal(const Value& left, const Value& right, Budget& budget);
/// left < right, of numbers, strings and lists of them.
[[nodiscard]] absl::StatusOr<bool> Less(const Value& left, const Value& right, Budget& budget);
[[nodiscard]] absl::StatusOr<Value> NegateNumber(const Value& value);
/// object[index]: undefined where a key or an element is missing.
[[nodiscard]] absl::StatusOr<Value> Element(const Value& object, const Value& index, Budget& budget);
/// What a loop over the value gives: elements, keys or characters; nothing where it is undefined.
[[nodiscard]] absl::StatusOr<Value::List> ElementsOf(const Value& value, Budget& budget);
/// object[start:stop:step] of a list or a string; none for what is left out.
[[nodiscard]] absl::StatusOr<Value> SliceOf(const Value& object, const Value& start, const Value& stop,
                                            const Value& step, Budget& budget);
}  // namespace baton::text::jinja
