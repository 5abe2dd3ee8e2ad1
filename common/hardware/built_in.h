#pragma once

#include <array>
#include <string_view>

namespace baton::hardware {

struct BuiltInFile {
  std::string_view name;
  std::string_view text;
};
/// catalogue/*.yaml as they were when this was built; each may use those before it. Made by CMake.
[[nodiscard]] const std::array<BuiltInFile, 5>& BuiltInFiles();

}  // namespace baton::hardware
