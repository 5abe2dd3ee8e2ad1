#pragma once

#include <functional>
#include <thread>

/// Signals as calls on a thread of their own, where code may lock and allocate.
namespace baton::daemon {

/// Blocks SIGTERM, SIGINT and SIGHUP for the calling thread and every thread that it starts from now on, and
/// ignores SIGPIPE: writing to a peer that is gone is an error, not an end. First thing in main, before any
/// thread.
void BlockSignals();

/// Calls `on_signal` with the number of each SIGTERM, SIGINT and SIGHUP that comes, one after the other, on a
/// thread of its own. One a process. Destroying it ends the thread; a signal that comes later stays blocked.
class SignalWatcher {
 public:
  explicit SignalWatcher(std::function<void(int signal)> on_signal);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void Watch();

  std::function<void(int)> on_signal_;
  int signals_ = -1;  // descriptor that is readable when a signal is pending
  int stop_ = -1;     // descriptor that is readable when the thread is to end
  std::thread thread_;
};

}  // namespace baton::daemon
