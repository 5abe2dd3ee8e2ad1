#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/value.h"

/// The filters, tests and methods that templates may use. A new one is a function and a row in a table.
namespace baton::text::jinja {

struct Builtin {
  std::string_view name;
  std::size_t arguments_max = 0;
  /// Of a test, the result is a boolean. Errors carry no position; the evaluator knows it.
  absl::StatusOr<Value> (*apply)(const Value& subject, const std::vector<Value>& arguments, Budget& budget);
};

/// Null where there is none of this name.
[[nodiscard]] const Builtin* FindFilter(std::string_view name);
[[nodiscard]] const Builtin* FindTest(std::string_view name);
[[nodiscard]] const Builtin* FindMethod(std::string_view name);

}  // namespace baton::text::jinja
