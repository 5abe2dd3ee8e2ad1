#pragma once

#include <absl/status/statusor.h>

#include "common/text/jinja/syntax.h"
#include "common/text/jinja/token_stream.h"

namespace baton::text::jinja {

/// The expression that begins at the next token, as far as it goes.
[[nodiscard]] absl::StatusOr<Expression> ParseExpression(TokenStream& tokens);

/// The same without `if ... else`, which a loop's `in` may not have bare.
[[nodiscard]] absl::StatusOr<Expression> ParseIterable(TokenStream& tokens);

}  // namespace baton::text::jinja
