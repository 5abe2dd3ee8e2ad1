#pragma once

#include <string>

#include <absl/status/status.h>

#include "router/router.h"

namespace baton::router {

/// Writes {"http":8080,"control":7000,"metrics":9100} to `path` in one step: who waits for the file never
/// sees half of it. Nothing where `path` is empty.
[[nodiscard]] absl::Status WritePortsFile(const std::string& path, const Router::Ports& ports);

}  // namespace baton::router
