#include "engine/model/model_files.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"

namespace baton::engine {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int value) : value_(value) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (value_ >= 0) close(value_);
  }
  [[nodiscard]] int Get() const { return value_; }

 private:
  int value_;
};

absl::Status SystemError(const std::string& path, const char* action) {
  const int error = errno;
  return Error(error == ENOENT ? kNotFound : kUnavailable, "{}: {}: {}", path, action, std::strerror(error));
}

/// The size of the regular file behind `file`.
absl::StatusOr<std::size_t> FileSize(const FileDescriptor& file, const std::string& path) {
  struct stat info {};
  if (fstat(file.Get(), &info) != 0) return SystemError(path, "stat");
  if (!S_ISREG(info.st_mode)) return Error(kInvalidArgument, "{}: is not a regular file", path);
  return static_cast<std::size_t>(info.st_size);
}

}  // namespace

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.Get() < 0) return SystemError(path, "open");
  BATON_ASSIGN_OR_RETURN(const std::size_t size, FileSize(file, path));
  if (size > kMaxConfigBytes) {
    return Error(kInvalidArgument, "{}: {} bytes, more than the {} that are read", path, size,
                 kMaxConfigBytes);
  }
  std::string text(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = read(file.Get(), text.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(path, "read");
    if (got == 0) break;  // the file became shorter meanwhile; the parser will say what is missing
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.Get() < 0) return SystemError(path, "open");
  BATON_ASSIGN_OR_RETURN(const std::size_t size, FileSize(file, path));
  if (size == 0) return Error(kInvalidArgument, "{}: is empty", path);
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.Get(), 0);
  if (address == MAP_FAILED) return SystemError(path, "map");
  return MappedFile({static_cast<const std::byte*>(address), size});
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace baton::engine
