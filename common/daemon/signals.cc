#include "common/daemon/signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

#include "common/base/check.h"

namespace baton::daemon {
namespace {

sigset_t WatchedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = WatchedSignals();
  BATON_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  BATON_CHECK(std::signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

SignalWatcher::SignalWatcher(std::function<void(int)> on_signal) : on_signal_(std::move(on_signal)) {
  const sigset_t set = WatchedSignals();
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  stop_ = eventfd(0, EFD_CLOEXEC);
  BATON_CHECK(signals_ >= 0 && stop_ >= 0, "no descriptor to watch signals with: errno {}", errno);
  thread_ = std::thread([this] { Watch(); });
}

SignalWatcher::~SignalWatcher() {
  const std::uint64_t one = 1;
  BATON_CHECK(write(stop_, &one, sizeof one) == sizeof one);
  thread_.join();
  close(signals_);
  close(stop_);
}

void SignalWatcher::Watch() {
  pthread_setname_np(pthread_self(), "signals");
  std::array<pollfd, 2> watched = {pollfd{.fd = signals_, .events = POLLIN, .revents = 0},
                                   pollfd{.fd = stop_, .events = POLLIN, .revents = 0}};
  while (true) {
    if (poll(watched.data(), watched.size(), -1) < 0) {
      BATON_CHECK(errno == EINTR, "poll: errno {}", errno);
      continue;
    }
    signalfd_siginfo info{};
    while (read(signals_, &info, sizeof info) == sizeof info) on_signal_(static_cast<int>(info.ssi_signo));
    if (watched[1].revents != 0) return;
  }
}

}  // namespace baton::daemon
