#include "common/text/text_file.h"

#include <cstring>
#include <filesystem>
#include <fstream>

#include "common/base/error.h"

namespace baton::text {

absl::StatusOr<std::string> ReadTextFile(const std::string& path, std::size_t max_bytes) {
  std::error_code ec;
  const auto status = std::filesystem::status(path, ec);
  if (!std::filesystem::exists(status)) return Error(kNotFound, "{}: no such file", path);
  if (!std::filesystem::is_regular_file(status))
    return Error(kInvalidArgument, "{}: not a regular file", path);
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error(kInvalidArgument, "{}: cannot open: {}", path, std::strerror(errno));
  const std::uintmax_t size = std::filesystem::file_size(path, ec);
  if (ec) return Error(kInvalidArgument, "{}: {}", path, ec.message());
  if (size > max_bytes)
    return Error(kInvalidArgument, "{}: {} bytes, at most {} allowed", path, size, max_bytes);
  std::string text(static_cast<std::size_t>(size), '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (static_cast<std::size_t>(in.gcount()) != text.size()) {
    return Error(kInvalidArgument, "{}: {} of {} bytes read", path, in.gcount(), text.size());
  }
  return text;
}

}  // namespace baton::text
