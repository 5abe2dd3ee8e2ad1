#include "common/daemon/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace baton::daemon {
namespace {

std::string SystemError(int number) {
  return std::generic_category().message(number);
}

std::string OneLine(std::string_view text) {
  std::string line(text);
  std::replace(line.begin(), line.end(), '\n', ' ');  // a line end would begin another assignment
  return line;
}

std::int64_t Microseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

std::optional<std::int64_t> EnvironmentNumber(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  std::int64_t number = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace

absl::StatusOr<Notifier> Notifier::FromEnvironment() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return Notifier();
  auto notifier = ToSocket(path);
  unsetenv("NOTIFY_SOCKET");
  return notifier;
}

absl::StatusOr<Notifier> Notifier::ToSocket(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool abstract = path.starts_with('@');
  if (!(abstract || path.starts_with('/')) || path.size() < 2 || path.size() >= sizeof address.sun_path) {
    return Error(kInvalidArgument, "notify socket \"{}\": must be an absolute path or an abstract name",
                 path);
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  if (abstract) address.sun_path[0] = '\0';
  // An abstract name is all of the bytes that are given, so the length must not take the zeros behind it
  // along.
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return Error(kUnavailable, "notify socket \"{}\": {}", path, SystemError(errno));
  Notifier notifier(descriptor);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return Error(kUnavailable, "notify socket \"{}\": {}", path, SystemError(errno));
  }
  return notifier;
}

Notifier::Notifier(Notifier&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}

Notifier& Notifier::operator=(Notifier&& other) noexcept {
  std::swap(socket_, other.socket_);
  return *this;
}

Notifier::~Notifier() {
  if (socket_ >= 0) close(socket_);
}

absl::Status Notifier::Ready(std::string_view status) const {
  return Send(fmt::format("READY=1\nSTATUS={}", OneLine(status)));
}

absl::Status Notifier::Status(std::string_view status) const {
  return Send(fmt::format("STATUS={}", OneLine(status)));
}

absl::Status Notifier::Stopping(std::string_view status, Duration within) const {
  return Send(
      fmt::format("STOPPING=1\nSTATUS={}\nEXTEND_TIMEOUT_USEC={}", OneLine(status), Microseconds(within)));
}

absl::Status Notifier::ExtendTimeout(Duration by) const {
  return Send(fmt::format("EXTEND_TIMEOUT_USEC={}", Microseconds(by)));
}

absl::Status Notifier::Watchdog() const {
  return Send("WATCHDOG=1");
}

absl::Status Notifier::Send(std::string_view message) const {
  if (socket_ < 0) return absl::OkStatus();
  // Never waits: a manager that does not read must not stop the daemon.
  if (send(socket_, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    return Error(kUnavailable, "notify the service manager: {}", SystemError(errno));
  }
  return absl::OkStatus();
}

std::optional<Duration> WatchdogPeriod() {
  const std::optional<std::int64_t> microseconds = EnvironmentNumber("WATCHDOG_USEC");
  if (!microseconds || *microseconds <= 0) return std::nullopt;
  const std::optional<std::int64_t> process = EnvironmentNumber("WATCHDOG_PID");
  if (process && *process != getpid()) return std::nullopt;
  return std::chrono::microseconds(*microseconds);
}

}  // namespace baton::daemon
