#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/text/jinja/budget.h"
#include "common/text/jinja/value.h"

/// Values as text. Shared parts are written as often as they occur, so that the budget is asked on the way.
namespace baton::text::jinja {

/// str(value), what {{ value }} prints; undefined is "".
[[nodiscard]] absl::StatusOr<std::string> Printed(const Value& value, Budget& budget);

struct JsonStyle {
  std::optional<std::string> indent = std::nullopt;  // of one level; one line where there is none
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
  bool ascii = false;
};
/// json.dumps(value).
[[nodiscard]] absl::StatusOr<std::string> JsonOf(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace baton::text::jinja
