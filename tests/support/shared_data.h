#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baton::test {

/// The path of `relative` in the data folder that lies beside some checkouts (../shared/data from the
/// project's root), or nothing where this checkout has none: the caller then skips with a WARN that says so.
[[nodiscard]] std::optional<std::string> SharedData(std::string_view relative);

/// The project's root folder: for files that are committed, such as deploy/demo-model.
[[nodiscard]] std::string ProjectFile(std::string_view relative);

/// The whole file, or a failed check.
[[nodiscard]] std::string ReadFile(const std::string& path);

}  // namespace baton::test
