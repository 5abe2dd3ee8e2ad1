#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace baton::config {

/// The candidate that `name` is most likely a slip of: fewest letters changed, missing, added or swapped, at
/// most one in three of its letters (two for short names). The first of equals; nothing where none is near.
[[nodiscard]] std::optional<std::string> NearestName(std::string_view name,
                                                     const std::vector<std::string>& candidates);

}  // namespace baton::config
