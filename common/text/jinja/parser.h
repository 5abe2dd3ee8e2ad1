#pragma once

#include <string_view>

#include <absl/status/statusor.h>

#include "common/text/jinja/syntax.h"

namespace baton::text::jinja {

/// The statements of a template. What is outside of the supported subset is refused here, with its name and
/// place, and not when a request comes. Trees are at most `kMaxHeight` high, statements nest at most
/// `kMaxNesting` deep.
[[nodiscard]] absl::StatusOr<Statements> Parse(std::string_view source);

// Published templates stay below 30; evaluation takes some 500 bytes of stack a level.
inline constexpr int kMaxHeight = 200;
inline constexpr int kMaxNesting = 50;

}  // namespace baton::text::jinja
