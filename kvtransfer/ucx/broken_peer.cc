#undef _FORTIFY_SOURCE  // with it the C library's headers define a recv of their own
#include "kvtransfer/ucx/broken_peer.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>

#include "common/base/check.h"
#include "common/base/clock.h"

namespace {

using baton::TimePoint;

// What UCX's TCP says while it makes a connection (uct/tcp/tcp.h): a magic number, then messages, each behind
// a byte of its kind and four of its length.
constexpr std::uint64_t kMagic = 0xCAFEBABE12345678;
constexpr std::size_t kHeaderBytes = 5;
constexpr std::uint8_t kMaking = 32;  // and above
constexpr std::array<std::uint8_t, 9> kAcknowledgement{kMaking, 4, 0, 0, 0, 2, 0, 0, 0};
constexpr int kConnectMilliseconds = 2000;

constexpr std::uint8_t kPut =
    kMaking + 1;  // names 8 bytes of address, 8 of length, 4: as many bytes follow it
constexpr std::size_t kPutHeaderBytes = kHeaderBytes + 20;

/// How far an accepted connection has been read.
struct Reading {
  std::array<std::uint8_t, kPutHeaderBytes> header{};
  std::size_t have = 0;                 // of the header of the message that is being read
  std::size_t whole = kPutHeaderBytes;  // what that header has
  std::uint64_t left = 0;               // of what follows it
};

/// A connection that the kernel has made, until its peer's acknowledgement comes.
struct Making {
  ino_t inode = 0;  // the socket's: its number may be another's by now
  TimePoint begun;
  bool given_up = false;
  std::size_t told = 0;  // of the acknowledgement, since
};

thread_local bool active = false;
thread_local std::map<int, Making> making;     // by socket
thread_local bool hung_up = false;             // said the receive that was the last call
thread_local std::map<int, Reading> accepted;  // by socket

std::function<void(const char*, int)>& Probe() {
  static std::function<void(const char*, int)> probe;
  return probe;
}

void Begin(const char* call, int socket) {
  hung_up = false;
  if (Probe()) Probe()(call, socket);
}

/// The C library's, or a sanitizer's around it.
template <typename Function>
Function* Next(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  BATON_CHECK(found != nullptr, "no {}: {}", name, dlerror());
  return reinterpret_cast<Function*>(found);
}

ssize_t NextSend(int socket, const void* bytes, std::size_t size, int flags) {
  static const auto next = Next<ssize_t(int, const void*, std::size_t, int)>("send");
  return next(socket, bytes, size, flags);
}

ssize_t NextSendMessage(int socket, const msghdr* message, int flags) {
  static const auto next = Next<ssize_t(int, const msghdr*, int)>("sendmsg");
  return next(socket, message, flags);
}

ssize_t NextReceive(int socket, void* bytes, std::size_t size, int flags) {
  static const auto next = Next<ssize_t(int, void*, std::size_t, int)>("recv");
  return next(socket, bytes, size, flags);
}

int NextConnect(int socket, const sockaddr* address, socklen_t length) {
  static const auto next = Next<int(int, const sockaddr*, socklen_t)>("connect");
  return next(socket, address, length);
}

bool Passes(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

ssize_t SentOrBroken(int socket, ssize_t sent, std::size_t size) {
  if (sent >= 0 || Passes(errno)) return sent;
  shutdown(socket, SHUT_RDWR);
  return static_cast<ssize_t>(size);
}

/// Completes `reading`, of whose header `seen` bytes are there, if it can. How much may be read.
std::uint64_t Most(Reading& reading, std::size_t seen) {
  const std::size_t there = reading.have + seen;
  reading.whole = there > 0 && reading.header[0] == kPut ? kPutHeaderBytes : kHeaderBytes;
  if (there < reading.whole) return seen;
  if (reading.whole == kPutHeaderBytes) {
    std::memcpy(&reading.left, &reading.header[kHeaderBytes + 8], sizeof reading.left);
  } else {
    std::uint32_t length = 0;
    std::memcpy(&length, &reading.header[1], sizeof length);
    reading.left = length;
  }
  return reading.whole - reading.have + std::min<std::uint64_t>(reading.left, SIZE_MAX / 2);
}

/// Reads no further than the end of the message that has begun, or begins now.
ssize_t ReceiveOne(int socket, Reading& reading, void* bytes, std::size_t size, int flags) {
  if (reading.have == reading.whole && reading.left == 0) reading = {};
  std::uint64_t most = reading.left;
  if (reading.have < reading.whole) {
    const ssize_t seen = NextReceive(socket, reading.header.data() + reading.have,
                                     reading.header.size() - reading.have, flags | MSG_PEEK);
    if (seen <= 0) return seen;
    most = Most(reading, static_cast<std::size_t>(seen));
  }
  const ssize_t got = NextReceive(socket, bytes, std::min<std::uint64_t>(size, most), flags);
  if (got <= 0) return got;
  const std::size_t of_header = std::min(static_cast<std::size_t>(got), reading.whole - reading.have);
  reading.have += of_header;
  if (reading.have == reading.whole) reading.left -= static_cast<std::size_t>(got) - of_header;
  return got;
}

/// Only where a magic number may come does UCX ask for so little at once.
bool Begins(int socket, std::size_t size) {
  std::uint64_t number = 0;
  return size == sizeof kMagic &&
         NextReceive(socket, &number, sizeof number, MSG_PEEK | MSG_DONTWAIT) == sizeof number &&
         number == kMagic;
}

ino_t InodeOf(int socket) {
  struct stat about {};
  return fstat(socket, &about) == 0 ? about.st_ino : 0;
}

/// What is being made at `socket`, if it is that one still.
std::map<int, Making>::iterator FindMaking(int socket) {
  const auto found = making.find(socket);
  if (found == making.end() || found->second.inode == InodeOf(socket)) return found;
  making.erase(found);
  return making.end();
}

ssize_t TellAcknowledgement(Making& given_up, void* bytes, std::size_t size) {
  const std::size_t told = std::min(size, kAcknowledgement.size() - given_up.told);
  std::memcpy(bytes, kAcknowledgement.data() + given_up.told, told);
  given_up.told += told;
  return static_cast<ssize_t>(told);
}

/// The peer's acknowledgement, or the end instead.
ssize_t ReceiveMaking(std::map<int, Making>::iterator at, void* bytes, std::size_t size, int flags) {
  const ssize_t got = at->second.given_up ? TellAcknowledgement(at->second, bytes, size)
                                          : NextReceive(at->first, bytes, size, flags);
  const bool goes_on = at->second.given_up ? got > 0 : got < 0 && Passes(errno);
  if (!goes_on) making.erase(at);
  return got;
}

ssize_t Receive(int socket, void* bytes, std::size_t size, int flags) {
  if (const auto found = FindMaking(socket); found != making.end())
    return ReceiveMaking(found, bytes, size, flags);
  if (Begins(socket, size)) {
    accepted[socket] = {};
    return NextReceive(socket, bytes, size, flags);
  }
  const auto found = accepted.find(socket);
  if (found == accepted.end()) return NextReceive(socket, bytes, size, flags);
  const ssize_t got = ReceiveOne(socket, found->second, bytes, size, flags);
  if (got == 0 || (got < 0 && !Passes(errno))) accepted.erase(found);
  return got;
}

/// Makes `socket` a connection with a peer that acknowledges and has hung up. False where there are no
/// descriptors left.
bool StandIn(int socket) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
  const int status = fcntl(socket, F_GETFL);
  bool made = write(ends[1], kAcknowledgement.data(), kAcknowledgement.size()) ==
              static_cast<ssize_t>(kAcknowledgement.size());
  close(ends[1]);
  made = made && dup3(ends[0], socket, O_CLOEXEC) == socket && fcntl(socket, F_SETFL, status) == 0;
  close(ends[0]);
  return made;
}

bool Connects(int socket, const sockaddr* address, socklen_t length) {
  const int status = fcntl(socket, F_GETFL);
  if (status < 0 || fcntl(socket, F_SETFL, status | O_NONBLOCK) != 0) return false;
  bool connected = NextConnect(socket, address, length) == 0;
  if (!connected && errno == EINPROGRESS) {
    pollfd wait{.fd = socket, .events = POLLOUT, .revents = 0};
    int error = 0;
    socklen_t size = sizeof error;
    connected = poll(&wait, 1, kConnectMilliseconds) == 1 &&
                getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  }
  return fcntl(socket, F_SETFL, status) == 0 && connected;
}

}  // namespace

// These take the C library's place for every library of this process.
#define BATON_INTERPOSED extern "C" __attribute__((visibility("default")))

BATON_INTERPOSED ssize_t send(int socket, const void* bytes, std::size_t size, int flags) {
  if (!active) return NextSend(socket, bytes, size, flags);
  Begin("send", socket);
  return SentOrBroken(socket, NextSend(socket, bytes, size, flags), size);
}

BATON_INTERPOSED ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  if (!active) return NextSendMessage(socket, message, flags);
  Begin("sendmsg", socket);
  std::size_t size = 0;
  for (std::size_t i = 0; i < message->msg_iovlen; ++i) size += message->msg_iov[i].iov_len;
  return SentOrBroken(socket, NextSendMessage(socket, message, flags), size);
}

BATON_INTERPOSED ssize_t recv(int socket, void* bytes, std::size_t size, int flags) {
  if (!active) return NextReceive(socket, bytes, size, flags);
  Begin("recv", socket);
  const ssize_t got = Receive(socket, bytes, size, flags);
  if (got > 0 || (got < 0 && Passes(errno))) return got;
  hung_up = true;
  if (got < 0) errno = ECONNRESET;  // of others it makes a failure at once, also amid the making
  return got;
}

BATON_INTERPOSED int connect(int socket, const sockaddr* address, socklen_t length) {
  if (!active) return NextConnect(socket, address, length);
  const bool again = hung_up;
  Begin("connect", socket);
  accepted.erase(socket);
  making.erase(socket);
  if (!again && Connects(socket, address, length)) {
    making[socket] = {.inode = InodeOf(socket), .begun = std::chrono::steady_clock::now()};
    return 0;
  }
  if (StandIn(socket)) return 0;
  errno = ECONNREFUSED;
  return -1;
}

namespace baton::kvtransfer::ucx {

BrokenPeer::BrokenPeer() {
  active = true;
  hung_up = false;
}

BrokenPeer::~BrokenPeer() {
  active = false;
}

bool BrokenPeer::Settled(TimePoint moment, bool give_up) {
  bool settled = true;
  for (auto at = making.begin(); at != making.end();) {
    auto& [socket, made] = *at++;
    if (made.begun >= moment || FindMaking(socket) == making.end()) continue;
    settled = false;
    if (give_up && !std::exchange(made.given_up, true)) shutdown(socket, SHUT_RDWR);
  }
  return settled;
}

bool BrokenPeer::Works() {
  return dlsym(RTLD_DEFAULT, "send") == reinterpret_cast<void*>(&::send) &&
         dlsym(RTLD_DEFAULT, "sendmsg") == reinterpret_cast<void*>(&::sendmsg) &&
         dlsym(RTLD_DEFAULT, "recv") == reinterpret_cast<void*>(&::recv) &&
         dlsym(RTLD_DEFAULT, "connect") == reinterpret_cast<void*>(&::connect);
}

void BrokenPeer::SetProbe(std::function<void(const char* call, int socket)> probe) {
  Probe() = std::move(probe);
}

}  // namespace baton::kvtransfer::ucx
