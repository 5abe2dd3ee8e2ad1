#include "tests/common/net/raw_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include <catch2/catch.hpp>

namespace baton::net {
namespace {

constexpr int kPatienceMs = 20'000;

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool WaitReadable(int descriptor, int limit_ms) {
  pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&waiting, 1, limit_ms) > 0;
}

}  // namespace

RawSocket::RawSocket(std::uint16_t port) : descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  REQUIRE(descriptor_ >= 0);
  const sockaddr_in address = Loopback(port);
  REQUIRE(connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

RawSocket::~RawSocket() {
  close(descriptor_);
}

bool RawSocket::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool RawSocket::Readable(std::chrono::milliseconds limit) {
  return WaitReadable(descriptor_, static_cast<int>(limit.count()));
}

std::string RawSocket::ReadSome() {
  REQUIRE(WaitReadable(descriptor_, kPatienceMs));
  std::array<char, 65536> buffer;
  const ssize_t got = recv(descriptor_, buffer.data(), buffer.size(), 0);
  return got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got)) : std::string();
}

std::string RawSocket::ReadUntil(std::string_view text) {
  std::string all;
  while (all.find(text) == std::string::npos) {
    const std::string piece = ReadSome();
    if (piece.empty()) break;
    all += piece;
  }
  return all;
}

std::string RawSocket::ReadAll() {
  std::string all;
  for (std::string piece = ReadSome(); !piece.empty(); piece = ReadSome()) all += piece;
  return all;
}

void RawSocket::ShutDownSending() {
  shutdown(descriptor_, SHUT_WR);
}

void RawSocket::Reset() {
  const linger abrupt{.l_onoff = 1, .l_linger = 0};
  setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
  close(descriptor_);
  descriptor_ = -1;
}

void RawSocket::ShrinkReceiveBuffer() {
  const int bytes = 4096;
  setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

RawListener::RawListener() : descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  REQUIRE(bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(listen(descriptor_, 16) == 0);
  REQUIRE(getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
}

RawListener::~RawListener() {
  close(descriptor_);
}

void RawListener::AcceptAndSend(std::string_view bytes) {
  if (!WaitReadable(descriptor_, kPatienceMs)) return;
  const int peer = accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC);
  if (peer < 0) return;
  (void)!send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  shutdown(peer, SHUT_WR);
  std::array<char, 4096> buffer;
  while (WaitReadable(peer, kPatienceMs) && recv(peer, buffer.data(), buffer.size(), 0) > 0) continue;
  close(peer);
}

NoMoreDescriptors::NoMoreDescriptors(int left) {
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit_before_ = limit.rlim_cur;
  const int next = dup(0);  // the lowest one that is free; there may be holes below the highest
  REQUIRE(next >= 0);
  close(next);
  limit.rlim_cur = static_cast<rlim_t>(next + left);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

NoMoreDescriptors::~NoMoreDescriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit_before_;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace baton::net
