#pragma once

#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/json/value.h"

/// Templates rendered over two messages, " Hi " of a user and "Yes" of the assistant.
namespace baton::text::test {

/// The text of `source` with the variables `extra`.
[[nodiscard]] absl::StatusOr<std::string> TryRender(std::string_view source, json::Object extra = {});
/// The same where it must work.
[[nodiscard]] std::string Render(std::string_view source, json::Object extra = {});
/// The message where it must fail.
[[nodiscard]] std::string ErrorOf(std::string_view source, json::Object extra = {});

}  // namespace baton::text::test
