#pragma once

#include <string>

#include <absl/status/statusor.h>

namespace baton::text {

/// The whole of a regular file of at most `max_bytes`. NotFound where there is none.
[[nodiscard]] absl::StatusOr<std::string> ReadTextFile(const std::string& path, std::size_t max_bytes);

}  // namespace baton::text
