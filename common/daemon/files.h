#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

/// The small files that every daemon reads or writes.
namespace baton::daemon {

/// The cluster's key: the file's text without the newline at its end; empty for an empty path. Errors name
/// the path.
[[nodiscard]] absl::StatusOr<std::string> ReadClusterKey(const std::string& path);

using NamedPorts = std::vector<std::pair<std::string_view, std::uint16_t>>;
/// Writes {"http":8080,"control":7000} to `path` in one step: who waits for the file never sees half of it.
/// Nothing where `path` is empty.
[[nodiscard]] absl::Status WritePortsFile(const std::string& path, const NamedPorts& ports);

}  // namespace baton::daemon
