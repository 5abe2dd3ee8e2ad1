#include "common/daemon/signals.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::daemon {
namespace {

/// Remembers signals, and lets a test wait for them.
class Log {
 public:
  void Add(int signal) {
    const std::scoped_lock lock(mutex_);
    signals_.push_back(signal);
    changed_.notify_all();
  }
  std::vector<int> WaitFor(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, std::chrono::system_clock::now() + std::chrono::seconds(20),
                        [&] { return signals_.size() >= count; });
    return signals_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> signals_;
};

TEST_CASE("each signal is handed over once, on another thread") {
  BlockSignals();
  Log log;
  std::thread::id thread;
  const SignalWatcher watcher([&](int signal) {
    thread = std::this_thread::get_id();
    log.Add(signal);
  });

  std::vector<int> sent;
  for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGTERM}) {
    REQUIRE(kill(getpid(), signal) == 0);
    sent.push_back(signal);
    CHECK(log.WaitFor(sent.size()) == sent);
  }
  CHECK(thread != std::this_thread::get_id());
}

TEST_CASE("a signal that came before the watcher is not lost, one after it does no harm") {
  BlockSignals();
  Log log;
  REQUIRE(kill(getpid(), SIGTERM) == 0);
  {
    const SignalWatcher watcher([&](int signal) { log.Add(signal); });
    CHECK(log.WaitFor(1) == std::vector<int>{SIGTERM});
  }
  REQUIRE(kill(getpid(), SIGTERM) == 0);  // stays pending
  {
    const SignalWatcher again([&](int signal) { log.Add(signal); });
  }
  CHECK(log.WaitFor(2).size() == 2);
}

TEST_CASE("writing to a peer that is gone is an error, not the end of the process") {
  BlockSignals();
  std::array<int, 2> pair{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  close(pair[1]);

  CHECK(write(pair[0], "x", 1) == -1);
  CHECK(errno == EPIPE);
  close(pair[0]);
}

}  // namespace
}  // namespace baton::daemon
