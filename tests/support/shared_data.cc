#include "tests/support/shared_data.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/check.h"

namespace baton::test {

std::optional<std::string> SharedData(std::string_view relative) {
  const auto path = std::filesystem::path(BATON_SOURCE_DIR) / ".." / "shared" / "data" / relative;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  return path.lexically_normal().string();
}

std::string ProjectFile(std::string_view relative) {
  return (std::filesystem::path(BATON_SOURCE_DIR) / relative).string();
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  BATON_CHECK(in.good(), "cannot open {}", path);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace baton::test
