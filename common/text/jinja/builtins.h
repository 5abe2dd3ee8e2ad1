#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/value.h"

/// The filters, tests and methods that templates may use. A new one is a function and a row in a table.
namespace baton::text::jinja {

struct Builtin {
  std::string_view name;
  std::string_view parameters;  // "name,default": the arguments it takes, none required
  /// There are as many arguments as parameters: undefined for what is not given. Of a test, the result is a
  /// boolean. Errors carry no position; the evaluator knows it.
  absl::StatusOr<Value> (*apply)(const Value& subject, const std::vector<Value>& arguments, Budget& budget);

  [[nodiscard]] std::vector<std::string_view> ParameterNames() const;
};

using Arguments = std::vector<Value>;

/// Whether templates may call a function of this name without defining it.
[[nodiscard]] bool IsFunction(std::string_view name);
/// Null where there is none of this name.
[[nodiscard]] const Builtin* FindFilter(std::string_view name);
[[nodiscard]] const Builtin* FindTest(std::string_view name);
[[nodiscard]] const Builtin* FindMethod(std::string_view name);

/// The tables behind them, one a file.
[[nodiscard]] std::span<const Builtin> TextFilters();
[[nodiscard]] std::span<const Builtin> ListFilters();
[[nodiscard]] std::span<const Builtin> Tests();
[[nodiscard]] std::span<const Builtin> Methods();

}  // namespace baton::text::jinja
