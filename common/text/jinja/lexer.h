#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "common/text/jinja/syntax.h"

namespace baton::text::jinja {

struct Token {
  enum class Kind {
    kText,            // outside of tags, white space already trimmed
    kOutputBegin,     // {{
    kOutputEnd,       // }}
    kStatementBegin,  // {%
    kStatementEnd,    // %}
    kName,
    kString,   // `text` is its value, escapes resolved
    kInteger,  // `text` is its digits
    kFloat,
    kOperator,  // `text` is its spelling
    kEnd,
  };
  Kind kind = Kind::kEnd;
  std::string text;
  Position at;
};

/// Cuts a template into tokens; the last is kEnd. Comments are dropped. White space around tags goes as with
/// Jinja's trim_blocks and lstrip_blocks, and as `-` and `+` in the tags say; one line end at the template's
/// end is dropped. Errors: bytes that begin no token, a tag or a string without an end, an unknown escape.
[[nodiscard]] absl::StatusOr<std::vector<Token>> Lex(std::string_view source);

}  // namespace baton::text::jinja
