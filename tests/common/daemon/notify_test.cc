#include "common/daemon/notify.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/common/daemon/service_manager.h"

namespace baton::daemon {
namespace {

using std::chrono::seconds;

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
