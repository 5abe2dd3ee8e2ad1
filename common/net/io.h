#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/base/mutex.h"
#include "common/net/event_loop.h"

namespace baton::net {

/// What an event loop is made of. Private to the sources of this module and of transports that watch
/// descriptors.
struct EventLoop::Io {
  Mutex mutex;
  bool wake_posted = false;  // guarded by mutex: a drain of `posted` is on its way
  bool ended = false;        // guarded by mutex: the loop takes no more work
  std::atomic<std::thread::id> thread{};

  // After the mutex: handlers that die with the context may still call Post.
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context.get_executor()};

  // A queue of our own: Asio keeps what its own thread posts apart, which breaks the order between threads.
  std::deque<std::function<void()>> posted;  // guarded by mutex
};

}  // namespace baton::net
