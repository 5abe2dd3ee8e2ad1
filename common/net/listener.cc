#include <atomic>
#include <unordered_map>
#include <utility>

#include <boost/asio/error.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/net/accept.h"
#include "common/net/framed.h"

namespace baton::net {
namespace {

using ErrorCode = boost::system::error_code;
using OnAccept = std::function<void(std::unique_ptr<Connection>)>;

// A worker's peers are hundreds; strangers who connect and stay silent must not take all descriptors.
constexpr std::size_t kHandshakesMax = 256;

/// Accepts, and keeps the handshakes under way. Shared with its operations.
class Doorman : public std::enable_shared_from_this<Doorman> {
 public:
  Doorman(EventLoop& loop, Tcp::acceptor acceptor, ConnectionOptions options, OnAccept on_accept)
      : loop_(loop),
        acceptor_(std::move(acceptor)),
        options_(std::move(options)),
        on_accept_(std::move(on_accept)) {}

  void Accept() {
    acceptor_.async_accept([self = shared_from_this()](const ErrorCode& error, Tcp::socket socket) {
      self->OnSocket(error, std::move(socket));
    });
  }

  void Close() {
    on_accept_ = nullptr;
    ErrorCode ignored;
    acceptor_.close(ignored);
    retry_.Cancel();
    for (auto& [id, guest] : guests_) guest.socket->close(ignored);
    guests_.clear();
  }

  [[nodiscard]] std::uint64_t Refused() const { return refused_.load(); }

 private:
  struct Guest {
    std::shared_ptr<Tcp::socket> socket;
    Timer deadline;
  };

  void OnSocket(const ErrorCode& error, Tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (error && IsOutOfDescriptors(error)) {
      LogWarning("accept_failed", {{"reason", error.message()}});
      retry_ = loop_.After(kAcceptBackOff, [self = weak_from_this()] {
        if (const auto doorman = self.lock()) doorman->Accept();
      });
      return;
    }
    if (!error && guests_.size() >= kHandshakesMax) {
      ++refused_;
    } else if (!error) {
      Greet(std::move(socket));
    }
    Accept();
  }

  void Greet(Tcp::socket accepted) {
    const std::uint64_t id = next_guest_++;
    Guest& guest = guests_[id];
    guest.socket = std::make_shared<Tcp::socket>(std::move(accepted));
    guest.deadline = loop_.After(options_.handshake_timeout, [self = weak_from_this(), id] {
      if (const auto doorman = self.lock())
        doorman->Finish(id, Error(kDeadlineExceeded, "no handshake in time"));
    });
    ErrorCode ignored;
    guest.socket->set_option(Tcp::no_delay(true), ignored);
    ShakeHands(guest.socket, HandshakeRole::kAcceptor, options_.cluster_key,
               [self = shared_from_this(), id](const absl::Status& status) { self->Finish(id, status); });
  }

  void Finish(std::uint64_t id, const absl::Status& status) {
    const auto found = guests_.find(id);
    if (found == guests_.end()) return;
    const std::shared_ptr<Tcp::socket> socket = found->second.socket;
    guests_.erase(found);
    if (!status.ok()) {
      ++refused_;
      LogInfo("handshake_refused", {{"peer", PeerName(*socket)}, {"reason", status}});
      ErrorCode ignored;
      socket->close(ignored);
      return;
    }
    const OnAccept on_accept = on_accept_;  // survives a listener that is destroyed by its own handler
    on_accept(MakeConnection(loop_, std::move(*socket), options_));
  }

  EventLoop& loop_;
  Tcp::acceptor acceptor_;
  const ConnectionOptions options_;
  OnAccept on_accept_;
  Timer retry_;
  std::unordered_map<std::uint64_t, Guest> guests_;
  std::uint64_t next_guest_ = 0;
  std::atomic<std::uint64_t> refused_ = 0;
};

class TcpListener final : public Listener {
 public:
  TcpListener(std::shared_ptr<Doorman> doorman, std::uint16_t port)
      : doorman_(std::move(doorman)), port_(port) {}
  ~TcpListener() override { doorman_->Close(); }
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;
  [[nodiscard]] std::uint16_t Port() const override { return port_; }
  [[nodiscard]] std::uint64_t RefusedHandshakes() const override { return doorman_->Refused(); }

 private:
  std::shared_ptr<Doorman> doorman_;
  std::uint16_t port_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listen(EventLoop& loop, const Address& address,
                                                 const ConnectionOptions& options, OnAccept on_accept) {
  BATON_ASSIGN_OR_RETURN(Tcp::acceptor acceptor, OpenAcceptor(loop.GetIo().context, address));
  const std::uint16_t port = acceptor.local_endpoint().port();
  auto doorman = std::make_shared<Doorman>(loop, std::move(acceptor), options, std::move(on_accept));
  doorman->Accept();
  return std::make_unique<TcpListener>(std::move(doorman), port);
}

}  // namespace baton::net
