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
[[nodiscard]] bool Equal(const Value& left, const Value& right);
[[nodiscard]] absl::StatusOr<Value> NegateNumber(const Value& value);
/// object[index]: undefined where a key or an element is missing.
[[nodiscard]] absl::StatusOr<Value> Element(const Value& object, const Value& index);
/// object[start:stop:step] of a list; none for what is left out.
[[nodiscard]] absl::StatusOr<Value> SliceOf(const Value& object, const Value& start, const Value& stop,
                                            const Value& step, Budget& budget);
/// str(value), what {{ value }} prints; undefined is "". Lists and dicts are refused.
[[nodiscard]] absl::StatusOr<std::string> Printed(const Value& value);

}  // namespace baton::text::jinja
