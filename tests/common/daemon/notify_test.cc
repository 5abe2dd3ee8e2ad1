#include "common/daemon/notify.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::daemon {
namespace {

using std::chrono::seconds;

/// The service manager's end of the socket.
class Manager {
 public:
  explicit Manager(const std::string& path) : descriptor_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    if (path[0] == '@') address.sun_path[0] = '\0';
    const auto size =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (path[0] == '@' ? 0 : 1));
    REQUIRE(bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  }
  ~Manager() { close(descriptor_); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  std::string Receive() {
    pollfd waiting{.fd = descriptor_, .events = POLLIN, .revents = 0};
    REQUIRE(poll(&waiting, 1, 20'000) == 1);
    std::array<char, 4096> buffer;
    const ssize_t size = recv(descriptor_, buffer.data(), buffer.size(), 0);
    REQUIRE(size >= 0);
    return {buffer.data(), static_cast<std::size_t>(size)};
  }

 private:
  int descriptor_;
};

std::string AbstractName() {
  return "@baton-notify-test-" + std::to_string(getpid());
}

TEST_CASE("the manager hears of each step, at an abstract name") {
  Manager manager(AbstractName());
  const auto notifier = Notifier::ToSocket(AbstractName());
  REQUIRE(notifier.ok());
  CHECK(notifier->HasManager());

  CHECK(notifier->Ready("serving on\n8080").ok());
  CHECK(notifier->Status("busy").ok());
  CHECK(notifier->Watchdog().ok());
  CHECK(notifier->ExtendTimeout(seconds(3)).ok());
  CHECK(notifier->Stopping("draining", seconds(30)).ok());

  CHECK(manager.Receive() == "READY=1\nSTATUS=serving on 8080");
  CHECK(manager.Receive() == "STATUS=busy");
  CHECK(manager.Receive() == "WATCHDOG=1");
  CHECK(manager.Receive() == "EXTEND_TIMEOUT_USEC=3000000");
  CHECK(manager.Receive() == "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=30000000");
}

TEST_CASE("the socket of the environment is used, and not left to children") {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("baton-notify-" + std::to_string(getpid()))).string();
  std::filesystem::remove(path);
  Manager manager(path);
  REQUIRE(setenv("NOTIFY_SOCKET", path.c_str(), 1) == 0);

  const auto notifier = Notifier::FromEnvironment();

  REQUIRE(notifier.ok());
  CHECK_FALSE(Notifier::FromEnvironment()->HasManager());
  CHECK(notifier->Ready("here").ok());
  CHECK(manager.Receive() == "READY=1\nSTATUS=here");
  std::filesystem::remove(path);
}

TEST_CASE("without a manager nothing is said and nothing fails") {
  unsetenv("NOTIFY_SOCKET");

  const auto notifier = Notifier::FromEnvironment();

  REQUIRE(notifier.ok());
  CHECK_FALSE(notifier->HasManager());
  CHECK(notifier->Ready("x").ok());
}

TEST_CASE("a socket that is none is an error with its name") {
  CHECK(Notifier::ToSocket("relative").status().code() == kInvalidArgument);
  CHECK(Notifier::ToSocket("@").status().code() == kInvalidArgument);
  CHECK(Notifier::ToSocket("/" + std::string(200, 'x')).status().code() == kInvalidArgument);
  CHECK_THAT(Message(Notifier::ToSocket("/nonexistent/socket").status()),
             Catch::Contains("/nonexistent/socket"));
}

TEST_CASE("a manager that is gone is an error, not the end") {
  auto manager = std::make_unique<Manager>(AbstractName());
  const auto notifier = Notifier::ToSocket(AbstractName());
  REQUIRE(notifier.ok());

  manager = nullptr;

  CHECK(notifier->Status("anyone?").code() == kUnavailable);
}

TEST_CASE("the watchdog's period is that of this process") {
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
  CHECK_FALSE(WatchdogPeriod());

  setenv("WATCHDOG_USEC", "2000000", 1);
  CHECK(WatchdogPeriod() == seconds(2));
  setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
  CHECK(WatchdogPeriod() == seconds(2));
  setenv("WATCHDOG_PID", "1", 1);
  CHECK_FALSE(WatchdogPeriod());
  unsetenv("WATCHDOG_PID");
  setenv("WATCHDOG_USEC", "2s", 1);
  CHECK_FALSE(WatchdogPeriod());
  unsetenv("WATCHDOG_USEC");
}

}  // namespace
}  // namespace baton::daemon
