#include "kvtransfer/ucx/one_event.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <map>

#include <catch2/catch.hpp>

namespace baton::kvtransfer::ucx {
namespace {

/// Two sockets that can be read and written, in one set.
class Sockets {
 public:
  Sockets() : set_(epoll_create1(EPOLL_CLOEXEC)) {
    REQUIRE(set_ >= 0);
    for (auto& pair : pairs_) {
      REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
      REQUIRE(write(pair[1], "x", 1) == 1);
      epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.fd = pair[0]}};
      REQUIRE(epoll_ctl(set_, EPOLL_CTL_ADD, pair[0], &event) == 0);
    }
  }
  ~Sockets() {
    for (const auto& pair : pairs_) {
      close(pair[0]);
      close(pair[1]);
    }
    close(set_);
  }
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;

  /// How many events one call brings; what they are goes to `seen`.
  int Wait(std::map<int, std::uint32_t>& seen) const {
    std::array<epoll_event, 16> events{};
    const int ready = epoll_wait(set_, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < ready; ++i)
      seen[events[static_cast<std::size_t>(i)].data.fd] |= events[static_cast<std::size_t>(i)].events;
    return ready;
  }

 private:
  int set_;
  std::array<std::array<int, 2>, 2> pairs_{};
};

constexpr std::uint32_t kBoth = EPOLLIN | EPOLLOUT;

}  // namespace

TEST_CASE("within its scope a wait brings one event of one direction, and soon every one") {
  const Sockets sockets;
  std::map<int, std::uint32_t> all;
  {
    const OneEventAtATime guard;
    for (int i = 0; i < 64; ++i) {
      std::map<int, std::uint32_t> seen;
      REQUIRE(sockets.Wait(seen) == 1);
      CHECK((seen.begin()->second & kBoth) != kBoth);
      all[seen.begin()->first] |= seen.begin()->second;
    }
  }
  REQUIRE(all.size() == 2);
  for (const auto& [descriptor, events] : all) CHECK((events & kBoth) == kBoth);
}

TEST_CASE("outside of it a wait is what it always was") {
  const Sockets sockets;
  std::map<int, std::uint32_t> seen;
  CHECK(sockets.Wait(seen) == 2);
  for (const auto& [descriptor, events] : seen) CHECK((events & kBoth) == kBoth);
}

TEST_CASE("libraries of this process wait through it") {
  CHECK(OneEventAtATime::Works());
}

}  // namespace baton::kvtransfer::ucx
