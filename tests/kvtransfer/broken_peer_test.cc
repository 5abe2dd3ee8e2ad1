#include "kvtransfer/ucx/broken_peer.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

namespace baton::kvtransfer::ucx {
namespace {

/// Closed at the end of its scope.
class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) { REQUIRE(descriptor >= 0); }
  ~Socket() { Close(); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int Get() const { return descriptor_; }
  void Close() {
    if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
  }
  /// Closes so that the other end is reset.
  void Reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    REQUIRE(setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    Close();
  }

 private:
  int descriptor_;
};

int NewSocket() {
  return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/// A listening socket of this host, and its address.
struct Listener {
  Listener() : socket(NewSocket()) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(bind(socket.Get(), Address(), length) == 0);
    REQUIRE(listen(socket.Get(), 4) == 0);
    REQUIRE(getsockname(socket.Get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  }
  [[nodiscard]] const sockaddr* Address() const { return reinterpret_cast<const sockaddr*>(&address); }
  [[nodiscard]] int Connect(const Socket& from) const {
    return connect(from.Get(), Address(), sizeof address);
  }

  Socket socket;
  sockaddr_in address{};
};

/// A TCP connection of this host with itself.
struct Connection {
  Connection()
      : here(NewSocket()), there([this] {
          REQUIRE(listener.Connect(here) == 0);
          return accept4(listener.socket.Get(), nullptr, nullptr, SOCK_CLOEXEC);
        }()) {}

  Listener listener;
  Socket here;
  Socket there;
};

constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;

std::string Receive(const Socket& from, std::size_t size = 4096) {
  std::string bytes(size, '\0');
  const ssize_t got = recv(from.Get(), bytes.data(), bytes.size(), kFlags);
  return got < 0 ? "error" : bytes.substr(0, static_cast<std::size_t>(got));
}

/// A message of UCX's TCP: 32 and above belong to the making of a connection.
std::string Message(char kind, const std::string& text) {
  return std::string{kind, static_cast<char>(text.size()), 0, 0, 0} + text;
}

const std::string kMagic = "\x78\x56\x34\x12\xBE\xBA\xFE\xCA";

}  // namespace

TEST_CASE("what is sent over a connection that was reset counts as sent, and a receive brings the end") {
  Connection connection;
  connection.there.Reset();
  const std::string bytes(1000, 'x');
  iovec pieces[] = {{.iov_base = const_cast<char*>(bytes.data()), .iov_len = 600},
                    {.iov_base = const_cast<char*>(bytes.data()), .iov_len = 400}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  {
    const BrokenPeer guard;
    CHECK(send(connection.here.Get(), bytes.data(), bytes.size(), kFlags) == 1000);
    CHECK(sendmsg(connection.here.Get(), &message, kFlags) == 1000);
    const std::string end = Receive(connection.here);
    CHECK((end.empty() || end == "error"));
  }
  CHECK(send(connection.here.Get(), bytes.data(), bytes.size(), kFlags) == -1);
}

TEST_CASE("a send that would block is no broken connection") {
  const Connection connection;
  const BrokenPeer guard;
  const std::string bytes(1U << 20, 'x');
  ssize_t sent = 0;
  while ((sent = send(connection.here.Get(), bytes.data(), bytes.size(), kFlags)) > 0) {
  }
  CHECK(sent == -1);
  CHECK(errno == EAGAIN);
  CHECK(Receive(connection.here) == "error");
  CHECK(errno == EAGAIN);
}

TEST_CASE("a connect that is refused meets a peer that acknowledges and has hung up") {
  Listener listener;
  listener.socket.Close();
  const Socket socket(NewSocket());
  {
    const BrokenPeer guard;
    REQUIRE(listener.Connect(socket) == 0);
    CHECK(send(socket.Get(), "question", 8, kFlags) == 8);
    CHECK(Receive(socket) == Message(32, std::string{2, 0, 0, 0}));
    CHECK(Receive(socket).empty());
  }
  const Socket another(NewSocket());
  CHECK(listener.Connect(another) == -1);
}

TEST_CASE("who hung up is not called again at once, but is the next time") {
  Connection connection;
  connection.there.Reset();
  const Socket again(NewSocket());
  const Socket later(NewSocket());
  {
    const BrokenPeer guard;
    CHECK(Receive(connection.here) == "error");
    CHECK(errno == ECONNRESET);
    CHECK(connection.listener.Connect(again) == 0);
    CHECK(Receive(again).size() == 9);
  }
  {
    const BrokenPeer guard;
    CHECK(connection.listener.Connect(later) == 0);
    CHECK(Receive(later) == "error");
    CHECK(errno == EAGAIN);
  }
}

TEST_CASE("a connection whose peer does not acknowledge it is given up by an acknowledgement and the end") {
  const BrokenPeer guard;
  const TimePoint before = std::chrono::steady_clock::now();
  const Connection connection;
  const Connection acknowledged;
  REQUIRE(send(acknowledged.there.Get(), "yes", 3, kFlags) == 3);
  CHECK(Receive(acknowledged.here) == "yes");
  const TimePoint now = std::chrono::steady_clock::now();
  CHECK(BrokenPeer::Settled(before, true));  // it has begun since
  CHECK_FALSE(BrokenPeer::Settled(now, false));
  CHECK(Receive(connection.here) == "error");
  CHECK(errno == EAGAIN);

  CHECK_FALSE(BrokenPeer::Settled(now, true));
  CHECK(send(connection.here.Get(), "answer", 6, kFlags) == 6);  // to nobody
  CHECK(Receive(connection.here) == Message(32, std::string{2, 0, 0, 0}));
  CHECK_FALSE(BrokenPeer::Settled(now, true));
  CHECK(Receive(connection.here).empty());
  CHECK(BrokenPeer::Settled(now, true));
  REQUIRE(send(acknowledged.there.Get(), "on", 2, kFlags) == 2);
  CHECK(Receive(acknowledged.here) == "on");
}

TEST_CASE("a connection that was closed while it was made is over, whoever has its number") {
  const BrokenPeer guard;
  std::optional<Connection> connection(std::in_place);
  const TimePoint now = std::chrono::steady_clock::now();
  connection.reset();
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  const Socket here(pair[0]);
  const Socket there(pair[1]);
  CHECK(BrokenPeer::Settled(now, true));
  CHECK(send(there.Get(), "x", 1, kFlags) == 1);
  CHECK(Receive(here) == "x");
}

TEST_CASE("an accepted connection is read message by message") {
  const BrokenPeer guard;  // a connect under it forgets who had the socket's number before
  const Connection connection;
  const std::string request = Message(32, "request");
  const std::string question = Message(1, std::string(100, 'q'));
  std::string put = Message(33, std::string(20, '\0')) + std::string(70, 'p');
  put[5 + 8] = 70;  // its length
  const std::string rest = Message(1, "more");
  const std::string all = kMagic + request + question + put + rest;
  SECTION("that has come at once") {
    REQUIRE(send(connection.here.Get(), all.data(), all.size(), kFlags) > 0);
    CHECK(Receive(connection.there, 8) == kMagic);
    CHECK(Receive(connection.there) == request);
    CHECK(Receive(connection.there) == question);
    CHECK(Receive(connection.there) == put);
    CHECK(Receive(connection.there) == rest);
  }
  SECTION("that comes byte by byte") {
    std::string received;
    for (const char byte : all) {
      REQUIRE(send(connection.here.Get(), &byte, 1, kFlags) == 1);
      if (received.empty() && byte != all[7]) continue;
      const std::string some = Receive(connection.there, received.empty() ? 8 : 4096);
      REQUIRE(some != "error");
      received += some;
    }
    CHECK(received == all);
  }
  SECTION("whose reader asks for little") {
    REQUIRE(send(connection.here.Get(), all.data(), all.size(), kFlags) > 0);
    CHECK(Receive(connection.there, 8) == kMagic);
    CHECK(Receive(connection.there, 2) == request.substr(0, 2));
    CHECK(Receive(connection.there, 4) == request.substr(2, 4));
    CHECK(Receive(connection.there) == request.substr(6));
    CHECK(Receive(connection.there, 50) == question.substr(0, 50));
    CHECK(Receive(connection.there) == question.substr(50));
    CHECK(Receive(connection.there, 7) == put.substr(0, 7));
    CHECK(Receive(connection.there, 30) == put.substr(7, 30));
    CHECK(Receive(connection.there) == put.substr(37));
    CHECK(Receive(connection.there) == rest);
  }
  SECTION("also where another one had its socket's number before it began") {
    const Connection before;
    const std::string begun = kMagic + request;
    REQUIRE(send(before.here.Get(), begun.data(), begun.size(), kFlags) > 0);
    CHECK(Receive(before.there, 8) == kMagic);
    CHECK(Receive(before.there) == request);
    REQUIRE(dup2(connection.there.Get(), before.there.Get()) == before.there.Get());
    REQUIRE(send(connection.here.Get(), all.data(), all.size(), kFlags) > 0);
    CHECK(Receive(before.there, 8) == kMagic);
    CHECK(Receive(before.there) == request);
    CHECK(Receive(before.there) == question);
    CHECK(Receive(before.there) == put);
    CHECK(Receive(before.there) == rest);
  }
  SECTION("and any other as ever") {
    REQUIRE(send(connection.there.Get(), all.data() + 8, all.size() - 8, kFlags) > 0);
    CHECK(Receive(connection.here) == all.substr(8));
  }
}

TEST_CASE("libraries of this process talk through it") {
  CHECK(BrokenPeer::Works());
}

}  // namespace baton::kvtransfer::ucx
