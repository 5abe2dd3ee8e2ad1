#pragma once

#include <cstdint>
#include <string>

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include "common/text/jinja/syntax.h"
#include "common/text/jinja/value.h"

namespace baton::text::jinja {

using Variables = absl::flat_hash_map<std::string, Value>;

/// The text of the template `statements` with `variables`. Pure: no file, no clock (`strftime_now` writes
/// `now_unix_s`), no state outside. Errors:
/// InvalidArgument with the template's own words from raise_exception; InvalidArgument with line and column
/// where a value does not fit; ResourceExhausted where steps, intermediate values or the output exceed their
/// bounds.
[[nodiscard]] absl::StatusOr<std::string> Evaluate(const Statements& statements, const Variables& variables,
                                                   std::int64_t now_unix_s);

}  // namespace baton::text::jinja
