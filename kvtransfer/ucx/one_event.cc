#include "kvtransfer/ucx/one_event.h"

#include <dlfcn.h>
#include <sys/epoll.h>

#include <cstdint>

#include "common/base/check.h"

namespace {

using EpollWait = int (*)(int, epoll_event*, int, int);

thread_local bool one_at_a_time = false;
thread_local std::uint32_t chance = 1;

/// By chance: in strict turns two busy sockets of one set would each have the same half for ever.
bool Either() {
  chance = chance * 1664525 + 1013904223;  // Numerical Recipes' generator: its high bits are good enough
  return (chance >> 31) != 0;
}

/// The C library's, or a sanitizer's around it.
EpollWait NextEpollWait() {
  static const auto next = reinterpret_cast<EpollWait>(dlsym(RTLD_NEXT, "epoll_wait"));
  BATON_CHECK(next != nullptr, "no epoll_wait: {}", dlerror());
  return next;
}

}  // namespace

/// Takes the C library's place for every library of this process.
extern "C" __attribute__((visibility("default"))) int epoll_wait(int set, epoll_event* events, int most,
                                                                 int timeout) {
  if (!one_at_a_time || most <= 0) return NextEpollWait()(set, events, most, timeout);
  const int ready = NextEpollWait()(set, events, 1, timeout);
  constexpr std::uint32_t kBoth = EPOLLIN | EPOLLOUT;
  constexpr std::uint32_t kFailed = EPOLLERR | EPOLLHUP;
  if (ready == 1 && (events->events & kBoth) == kBoth) {
    const bool write = (events->events & kFailed) == 0 && Either();
    events->events &= ~static_cast<std::uint32_t>(write ? EPOLLIN : EPOLLOUT);
  }
  return ready;
}

namespace baton::kvtransfer::ucx {

OneEventAtATime::OneEventAtATime() {
  one_at_a_time = true;
}

OneEventAtATime::~OneEventAtATime() {
  one_at_a_time = false;
}

bool OneEventAtATime::Works() {
  return dlsym(RTLD_DEFAULT, "epoll_wait") == reinterpret_cast<void*>(&epoll_wait);
}

}  // namespace baton::kvtransfer::ucx
