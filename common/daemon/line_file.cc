#include "common/daemon/line_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"

namespace baton::daemon {
namespace {

// Written at least so often, so that a process that is killed loses little.
constexpr std::chrono::milliseconds kWriteEvery{200};
// So much waits for the next time; more is written at once.
constexpr std::size_t kWriteAtBytes = 256U << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<LineFile>> LineFile::Open(const std::string& file, std::string_view what) {
  std::error_code error;
  // Nothing but a file is moved away: a device or a folder makes open() fail, with its reason.
  if (std::filesystem::symlink_status(file, error).type() == std::filesystem::file_type::regular) {
    std::filesystem::rename(file, file + ".old", error);
    if (error)
      return Error(kFailedPrecondition, "{}: cannot be renamed to {}.old: {}", file, file, error.message());
  }
  const int descriptor = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return Error(kFailedPrecondition, "{}: {}", file, std::strerror(errno));
  return std::make_unique<LineFile>(file, what, descriptor);
}

LineFile::LineFile(std::string file, std::string_view what, int descriptor)
    : file_(std::move(file)), what_(what), descriptor_(descriptor), writer_([this] { WriteUntilClosed(); }) {}

LineFile::~LineFile() {
  {
    const MutexLock lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  writer_.join();
  close(descriptor_);
}

std::size_t LineFile::Append(std::string_view line) {
  std::size_t waiting = 0;
  {
    const MutexLock lock(mutex_);
    pending_ += line;
    pending_ += '\n';
    waiting = pending_.size();
  }
  bytes_ += line.size() + 1;
  ++lines_;
  if (waiting > kWriteAtBytes) wake_.notify_one();
  return waiting;
}

void LineFile::WriteUntilClosed() {
  bool closing = false;
  while (!closing) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kWriteEvery, [this] { return closing_ || pending_.size() > kWriteAtBytes; });
      closing = closing_;
      text = std::exchange(pending_, {});
    }
    if (failed_ || WriteAll(text)) continue;
    failed_ = true;
    LogWarning(what_ + "_failed", {{"file", file_}, {"error", std::strerror(errno)}});
  }
}

bool LineFile::WriteAll(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace baton::daemon
