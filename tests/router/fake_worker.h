#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/cluster/wire.pb.h"
#include "common/net/connection.h"
#include "common/net/event_loop.h"
#include "tests/common/net/support.h"

namespace baton::router {

/// A worker as the router sees one: a socket that speaks wire.proto, and a script. Its loop has a thread of
/// its own.
class FakeWorker {
 public:
  struct Options {
    std::uint16_t router_port = 0;
    std::string cluster_key = {};
    wire::Register registration = {};
  };
  /// Connects, and registers where the registration has a name.
  explicit FakeWorker(Options options);
  ~FakeWorker();
  FakeWorker(const FakeWorker&) = delete;
  FakeWorker& operator=(const FakeWorker&) = delete;

  /// A registration that a router with this tokenizer takes.
  [[nodiscard]] static wire::Register Registration(const std::string& name, wire::Phase phase,
                                                   std::uint64_t tokenizer_fingerprint,
                                                   std::int32_t vocabulary);

  /// From now on each Prefill or Reserve is answered with these tokens, the last with finish "length" or
  /// "stop"; with `tokens_shown` less than all, the answer stops there and nothing is released.
  void Answer(std::vector<std::int32_t> tokens, std::string finish, std::size_t tokens_shown = SIZE_MAX);
  void Send(const wire::Envelope& envelope);
  void SendRaw(std::string frame);
  void SendReady(std::uint32_t peer);
  /// Closes the socket, as a process that dies does.
  void Die();

  /// Waits for a message that `wanted` likes; false where none comes. Every message so far counts.
  [[nodiscard]] bool WaitFor(const std::function<bool(const wire::Envelope&)>& wanted);
  [[nodiscard]] bool WaitForClose();
  [[nodiscard]] std::uint32_t Id();
  [[nodiscard]] std::vector<wire::Envelope> Received() const { return received_.Get(); }

 private:
  void OnFrame(std::string_view frame);
  void Play(std::uint64_t request, std::uint32_t attempt);
  void SendNow(const wire::Envelope& envelope);

  const Options options_;
  net::Watched<std::vector<wire::Envelope>> received_;
  net::Signal closed_;
  // Loop thread only.
  std::vector<std::int32_t> tokens_;
  std::string finish_;
  std::size_t tokens_shown_ = 0;
  bool plays_ = false;
  std::unique_ptr<net::Connection> connection_;
  std::unique_ptr<net::PendingConnect> connecting_;
  std::unique_ptr<net::LoopThread> thread_;
};

}  // namespace baton::router
