#include "kvtransfer/ucx/one_event.h"

#include <netinet/in.h>
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

TEST_CASE("a connection that was reset is told of by reading alone") {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{
      .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t length = sizeof address;
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(listen(listener, 1) == 0);
  REQUIRE(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  const int writer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(connect(writer, reinterpret_cast<sockaddr*>(&address), length) == 0);
  const int reader = accept(listener, nullptr, nullptr);
  const linger now{.l_onoff = 1, .l_linger = 0};
  REQUIRE(setsockopt(reader, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
  const int set = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.fd = writer}};
  REQUIRE(epoll_ctl(set, EPOLL_CTL_ADD, writer, &event) == 0);

  close(reader);  // a reset
  REQUIRE(epoll_wait(set, &event, 1, 10'000) == 1);
  {
    const OneEventAtATime guard;
    for (int i = 0; i < 32; ++i) {
      REQUIRE(epoll_wait(set, &event, 1, 0) == 1);
      CHECK((event.events & kBoth) == EPOLLIN);
    }
  }
  close(set);
  close(writer);
  close(listener);
}

TEST_CASE("libraries of this process wait through it") {
  CHECK(OneEventAtATime::Works());
}

}  // namespace baton::kvtransfer::ucx
