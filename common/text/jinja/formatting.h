#pragma once

#include <string_view>

#include <absl/status/statusor.h>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/value.h"

/// Python's two ways to write values into a text.
namespace baton::text::jinja {

/// `format % values`: a tuple's elements one after the other, a dict's members by name, or one value.
[[nodiscard]] absl::StatusOr<Value> Interpolated(std::string_view format, const Value& values,
                                                 Budget& budget);

/// `format.format(values...)`: fields without a name, by turn or by number, with a conversion and a width,
/// precision and type. Names, attributes and separators of thousands are refused.
[[nodiscard]] absl::StatusOr<Value> Formatted(std::string_view format, const Value::List& values,
                                              Budget& budget);

}  // namespace baton::text::jinja
