#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/value.h"

/// What filters and methods of strings share.
namespace baton::text::jinja {

/// A string that was made, charged to the budget.
[[nodiscard]] absl::StatusOr<Value> Made(std::string text, Budget& budget);
/// str.replace; all of them where count < 0.
[[nodiscard]] absl::StatusOr<Value> Replaced(std::string_view text, std::string_view old,
                                             std::string_view with, std::int64_t count, Budget& budget);
/// The elements as text with `separator` between them.
[[nodiscard]] absl::StatusOr<Value> Joined(const Value::List& list, std::string_view separator,
                                           Budget& budget);
/// An argument that must be a string; `fallback` where it is not given.
[[nodiscard]] absl::StatusOr<std::string> TextArgument(const Value& argument, std::string_view fallback);
/// An argument that must be a whole number; `fallback` where it is not given or none.
[[nodiscard]] absl::StatusOr<std::int64_t> WholeArgument(const Value& argument, std::int64_t fallback);

}  // namespace baton::text::jinja
