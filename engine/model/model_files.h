#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <absl/status/statusor.h>

/// Files of a model directory.
namespace baton::engine {

/// Largest config.json, generation_config.json or shard index that is read; real ones are below 1 MiB.
inline constexpr std::size_t kMaxConfigBytes = 16U << 20;

/// A whole file of at most kMaxConfigBytes. NotFound where there is none; every error names the path.
[[nodiscard]] absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

/// A file's bytes, mapped read-only for as long as this lives. Immutable; any thread.
class MappedFile {
 public:
  /// NotFound where there is none; InvalidArgument where it is empty or no regular file.
  [[nodiscard]] static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  [[nodiscard]] std::span<const std::byte> Bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

}  // namespace baton::engine
