#pragma once

#include <string>
#include <string_view>

#include <absl/container/flat_hash_set.h>
#include <absl/status/statusor.h>

#include "common/text/jinja/syntax.h"

namespace baton::text::jinja {

/// The statements of a template. What is outside of the supported subset is refused here, with its name and
/// place, and not when a request comes. Trees are at most `kMaxHeight` high, statements nest at most
/// `kMaxNesting` deep.
[[nodiscard]] absl::StatusOr<Statements> Parse(std::string_view source);

/// The names that stand for variables in the template, or for functions: no attribute, filter or test.
/// Nothing where `source` cannot be cut into tokens.
[[nodiscard]] absl::flat_hash_set<std::string> NamesIn(std::string_view source);

// Published templates stay below 30; evaluation takes some 500 bytes of stack a level.
inline constexpr int kMaxHeight = 200;
inline constexpr int kMaxNesting = 50;

}  // namespace baton::text::jinja
