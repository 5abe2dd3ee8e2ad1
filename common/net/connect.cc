#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/error.hpp>

#include "common/base/error.h"
#include "common/net/framed.h"

namespace baton::net {
namespace {

using ErrorCode = boost::system::error_code;

/// One attempt: resolve, connect, shake hands, all before one deadline. Kept alive by the operation under
/// way.
class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(EventLoop& loop, Address address, ConnectionOptions options, OnConnection done)
      : loop_(loop),
        address_(std::move(address)),
        options_(std::move(options)),
        done_(std::move(done)),
        resolver_(loop.GetIo().context),
        socket_(std::make_shared<Tcp::socket>(loop.GetIo().context)) {}

  void Begin(Duration timeout) {
    deadline_ = loop_.After(timeout, [self = weak_from_this(), timeout] {
      if (const auto attempt = self.lock()) attempt->OnTimeout("no answer", timeout);
    });
    ErrorCode not_numeric;
    const auto ip = boost::asio::ip::make_address(address_.host, not_numeric);
    if (!not_numeric) return Connect(std::vector{Tcp::endpoint(ip, address_.port)});
    resolver_.async_resolve(
        address_.host, std::to_string(address_.port),
        [self = shared_from_this()](const ErrorCode& error, const Tcp::resolver::results_type& found) {
          if (error) return self->Fail(Error(kUnavailable, "resolve: {}", error.message()));
          self->Connect(std::vector<Tcp::endpoint>(found.begin(), found.end()));
        });
  }

  void Cancel() {
    done_ = nullptr;
    Release();
  }

 private:
  void Connect(std::vector<Tcp::endpoint> endpoints) {
    if (done_ == nullptr) return;
    boost::asio::async_connect(*socket_, std::move(endpoints),
                               [self = shared_from_this()](const ErrorCode& error, const Tcp::endpoint&) {
                                 if (error) return self->Fail(Error(kUnavailable, "{}", error.message()));
                                 self->Shake();
                               });
  }

  void Shake() {
    if (done_ == nullptr) return;
    handshake_deadline_ = loop_.After(options_.handshake_timeout, [self = weak_from_this()] {
      const auto attempt = self.lock();
      if (attempt)
        attempt->OnTimeout("connected, but no answer to the handshake", attempt->options_.handshake_timeout);
    });
    ErrorCode ignored;
    socket_->set_option(Tcp::no_delay(true), ignored);
    ShakeHands(socket_, HandshakeRole::kConnector, options_.cluster_key,
               [self = shared_from_this()](const absl::Status& status) {
                 if (!status.ok()) return self->Fail(status);
                 self->Succeed();
               });
  }

  void OnTimeout(std::string_view what, Duration limit) {
    Fail(Error(kDeadlineExceeded, "{} within {:.3f} s", what, Seconds(limit)));
  }

  void Fail(const absl::Status& why) {
    const OnConnection done = std::exchange(done_, nullptr);
    Release();
    if (done) done(Annotate(why, "connect to " + address_.ToString()));
  }

  void Succeed() {
    const OnConnection done = std::exchange(done_, nullptr);
    if (!done) return;
    handshake_deadline_.Cancel();
    deadline_.Cancel();
    done(MakeConnection(loop_, std::move(*socket_), options_));
  }

  void Release() {
    deadline_.Cancel();
    handshake_deadline_.Cancel();
    resolver_.cancel();
    ErrorCode ignored;
    socket_->close(ignored);
  }

  EventLoop& loop_;
  const Address address_;
  const ConnectionOptions options_;
  OnConnection done_;  // empty once it has run or is cancelled
  Timer deadline_;
  Timer handshake_deadline_;
  Tcp::resolver resolver_;
  const std::shared_ptr<Tcp::socket> socket_;
};

class PendingAttempt final : public PendingConnect {
 public:
  explicit PendingAttempt(std::shared_ptr<Attempt> attempt) : attempt_(std::move(attempt)) {}
  ~PendingAttempt() override { attempt_->Cancel(); }
  PendingAttempt(const PendingAttempt&) = delete;
  PendingAttempt& operator=(const PendingAttempt&) = delete;

 private:
  std::shared_ptr<Attempt> attempt_;
};

}  // namespace

std::unique_ptr<PendingConnect> Connect(EventLoop& loop, const Address& address,
                                        const ConnectionOptions& options, Duration timeout,
                                        OnConnection done) {
  auto attempt = std::make_shared<Attempt>(loop, address, options, std::move(done));
  attempt->Begin(timeout);
  return std::make_unique<PendingAttempt>(std::move(attempt));
}

}  // namespace baton::net
