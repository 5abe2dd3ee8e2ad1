#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/base/clock.h"

namespace baton::daemon {

/// Tells the service manager how the process is doing (the sd_notify protocol over a UNIX datagram socket,
/// spoken here without its library). Without a manager every call does nothing. Thread-safe.
class Notifier {
 public:
  /// To $NOTIFY_SOCKET, or to nobody where it is not set. Takes the variable out of the environment, so that
  /// children do not speak for the daemon: call it before there are threads.
  [[nodiscard]] static absl::StatusOr<Notifier> FromEnvironment();
  /// To the socket at `path`: absolute, or abstract, as "@name".
  [[nodiscard]] static absl::StatusOr<Notifier> ToSocket(std::string_view path);
  /// To nobody.
  Notifier() = default;

  Notifier(Notifier&& other) noexcept;
  Notifier& operator=(Notifier&& other) noexcept;
  ~Notifier();

  /// The daemon serves; `status` is a line for people.
  absl::Status Ready(std::string_view status) const;
  /// A line for people.
  absl::Status Status(std::string_view status) const;
  /// The daemon is ending, and needs up to `within` to do it well.
  absl::Status Stopping(std::string_view status, Duration within) const;
  /// Asks for more time to start or to end: the manager waits `by` from now.
  absl::Status ExtendTimeout(Duration by) const;
  /// The daemon is alive; within every half of `WatchdogPeriod`.
  absl::Status Watchdog() const;

  [[nodiscard]] bool HasManager() const { return socket_ >= 0; }

 private:
  explicit Notifier(int socket) : socket_(socket) {}
  absl::Status Send(std::string_view message) const;

  int socket_ = -1;  // connected to the manager's
};

/// How often the manager wants `Watchdog` at least ($WATCHDOG_USEC, if it is meant for this process), or
/// nothing.
[[nodiscard]] std::optional<Duration> WatchdogPeriod();

}  // namespace baton::daemon
