#include "tests/integration/raw_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/check.h"

namespace baton::test {

namespace {

int ConnectAndSend(const net::Address& address, std::string_view bytes) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  BATON_CHECK(::inet_pton(AF_INET, address.host.c_str(), &to.sin_addr) == 1, "{}", address.host);
  const int connected = ::connect(descriptor, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  BATON_CHECK(connected == 0, "connect to {}: {}", address.ToString(), std::strerror(errno));
  while (!bytes.empty()) {
    const ssize_t count = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) break;  // the other side has seen enough
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return descriptor;
}

}  // namespace

MuteClient::MuteClient(const net::Address& address, std::string_view bytes)
    : descriptor_(ConnectAndSend(address, bytes)) {}

MuteClient::~MuteClient() {
  HangUp();
}

void MuteClient::HangUp() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

std::string SendRaw(const net::Address& address, std::string_view bytes, Duration patience) {
  const int descriptor = ConnectAndSend(address, bytes);
  std::string received;
  const int patience_ms =
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(patience).count());
  pollfd readable{.fd = descriptor, .events = POLLIN, .revents = 0};
  while (::poll(&readable, 1, patience_ms) == 1) {
    std::array<char, 4096> buffer;
    const ssize_t count = ::recv(descriptor, buffer.data(), buffer.size(), 0);
    if (count <= 0) break;
    received.append(buffer.data(), static_cast<std::size_t>(count));
  }
  ::close(descriptor);
  return received;
}

}  // namespace baton::test
