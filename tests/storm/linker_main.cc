#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "common/base/check.h"
#include "kvtransfer/transport.h"
#include "kvtransfer/ucx/broken_peer.h"
#include "tests/storm/child.h"

/// storm_linker [rendezvous], with the parent's channel as descriptor 3: one end of data connections that
/// break amid their making. Says its address in hexadecimal digits, then does as it is told, a line each:
///
///     connect ADDRESS CALL FAULT PEER   connects; at UCX's call number CALL to a socket, FAULT strikes:
///     "die", "kill"
///                                       or "pause" (the process PEER) or "shut" (the socket)
///     send                              sends a canary over the connection: says "sent" when it has gone
///     close                             closes it
///     calls                             disarms; says "calls COUNT WHERE": of UCX, and the one that was
///     struck
///
/// And says "down" when the connection is gone.
namespace baton::storm {
namespace {

constexpr int kChannel = 3;
constexpr std::uint64_t kCanaryBytes = 1U << 20;

void Say(const std::string& line) {
  const std::string text = line + "\n";
  if (write(kChannel, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(3);
}

/// Returns when the process is dead, and the kernel has hung up for it.
void Kill(pid_t process) {
  const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, process, 0));
  if (descriptor < 0) return;  // gone already
  kill(process, SIGKILL);
  pollfd wait{.fd = descriptor, .events = POLLIN, .revents = 0};
  poll(&wait, 1, -1);
  close(descriptor);
}

/// What strikes, and when. UCX's thread strikes, the main thread arms.
class Fault {
 public:
  void Arm(int call, const std::string& kind, pid_t peer) {
    const std::scoped_lock lock(mutex_);
    left_ = call;
    calls_ = 0;
    kind_ = kind;
    peer_ = peer;
    where_ = "nowhere";
  }
  void OnCall(const char* call, int socket) {
    const std::scoped_lock lock(mutex_);
    ++calls_;
    if (left_-- != 0) return;
    where_ = call;
    if (kind_ == "die") kill(getpid(), SIGKILL);
    if (kind_ == "kill") Kill(peer_);
    if (kind_ == "pause") kill(peer_, SIGSTOP);
    if (kind_ == "shut") shutdown(socket, SHUT_RDWR);
  }
  /// What has not struck so far does not any more.
  std::string Calls() {
    const std::scoped_lock lock(mutex_);
    left_ = -1;
    return fmt::format("calls {} {}", calls_, where_);
  }

 private:
  std::mutex mutex_;
  int left_ = -1;
  int calls_ = 0;
  pid_t peer_ = 0;
  std::string kind_;
  std::string where_;
};

class End final : public kvtransfer::TransportEvents {
 public:
  explicit End(bool rendezvous) {
    kvtransfer::HandoffOptions options;
    if (rendezvous) options.tls = "self,tcp";  // no TCP by its name: messages go as over a network card
    options.net_device = "lo";
    transport_ = kvtransfer::CreateUcxTransport(options);
    kvtransfer::KvLayout layout;
    layout.layers = layout.kv_heads = 1;
    layout.head_dim = 64;
    layout.block_tokens = 16;
    memory_.resize(layout.BlockBytes());
    const absl::Status started = transport_->Start(
        {.region = {.address = memory_.data(), .bytes = memory_.size()}, .blocks = 1, .layout = layout},
        *this);
    BATON_CHECK(started.ok(), "{}", started.ToString());
    std::string address;
    for (const char byte : transport_->LocalAddress())
      address += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    Say(address);
  }

  void Do(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "send") static_cast<void>(transport_->SendCanary(peer_, kCanaryBytes));
    if (verb == "close") transport_->ClosePeer(peer_);
    if (verb == "calls") Say(fault.Calls());
    if (verb != "connect") return;
    std::string address;
    int call = 0;
    std::string kind;
    pid_t process = 0;
    words >> address >> call >> kind >> process;
    fault.Arm(call, kind, process);
    const auto peer = transport_->ConnectPeer(FromHex(address));
    BATON_CHECK(peer.ok());
    peer_ = *peer;
  }

  void OnReceived(kvtransfer::Received) override {}
  void OnDrained(TransferId) override {}
  void OnSent(const kvtransfer::Sent& sent) override {
    if (sent.status.ok()) Say("sent");
  }
  void OnPeerDown(kvtransfer::PeerHandle, const absl::Status&) override { Say("down"); }

  static Fault fault;

 private:
  std::vector<std::byte> memory_;
  kvtransfer::PeerHandle peer_;
  std::unique_ptr<kvtransfer::Transport> transport_;
};

Fault End::fault;

}  // namespace
}  // namespace baton::storm

int main(int argc, char**) {
  using baton::storm::End;
  baton::kvtransfer::ucx::BrokenPeer::SetProbe(
      [](const char* call, int socket) { End::fault.OnCall(call, socket); });
  End end(/*rendezvous=*/argc > 1);
  std::string pending;
  char buffer[4096];
  while (true) {
    const ssize_t count = read(baton::storm::kChannel, buffer, sizeof buffer);
    if (count <= 0) _exit(3);
    pending.append(buffer, static_cast<std::size_t>(count));
    for (std::size_t at = 0; (at = pending.find('\n')) != std::string::npos; pending.erase(0, at + 1))
      end.Do(pending.substr(0, at));
  }
}
