#include "common/net/http_server.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <utility>

#include <boost/asio/error.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/net/accept.h"
#include "common/net/http_session.h"

namespace baton::net {
namespace {

using ErrorCode = boost::system::error_code;
using Tcp = boost::asio::ip::tcp;

// Past the limit a client is told so, but telling takes a connection too: these many at once, the rest is
// just closed.
constexpr std::size_t kRefusedAtOnceMax = 64;

/// One thread and its connections.
struct Worker {
  Worker(const HttpServer::Options& options, std::atomic<std::size_t>& open_connections)
      : site(thread->Loop(), options, open_connections) {}
  ~Worker() { thread = nullptr; }  // before the site, which its last work still needs
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  std::unique_ptr<LoopThread> thread = std::make_unique<LoopThread>("http");
  HttpSite site;
};

/// Accepts on the first worker's loop and deals connections out in turn.
class Server final : public HttpServer {
 public:
  explicit Server(Options options) : options_(std::move(options)) {
    for (int i = 0; i < std::max(1, options_.threads); ++i) {
      workers_.push_back(std::make_unique<Worker>(options_, open_connections_));
    }
  }

  ~Server() override {
    std::promise<void> accepting_ended;  // waited for: until then the first loop deals connections out to all
    Home().Post([&] {
      CloseAcceptor();
      accepting_ended.set_value();
    });
    accepting_ended.get_future().wait();
    for (const auto& worker : workers_) {
      worker->thread->Loop().Post([&site = worker->site] { CloseSite(site); });
    }
    workers_.clear();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  absl::Status Listen() {
    auto acceptor = OpenAcceptor(Home().GetIo().context, options_.address);
    if (!acceptor.ok()) return acceptor.status();
    port_ = acceptor->local_endpoint().port();
    acceptor_ = std::make_unique<Tcp::acceptor>(*std::move(acceptor));
    Home().Post([this] { Accept(); });
    return absl::OkStatus();
  }

  [[nodiscard]] std::uint16_t Port() const override { return port_; }
  [[nodiscard]] std::size_t OpenConnections() const override { return open_connections_.load(); }

 private:
  [[nodiscard]] EventLoop& Home() { return workers_.front()->thread->Loop(); }

  void CloseAcceptor() {
    retry_.Cancel();
    acceptor_ = nullptr;
  }

  void Accept() {
    if (!acceptor_) return;
    Worker& worker = *workers_[next_++ % workers_.size()];
    acceptor_->async_accept(worker.thread->Loop().GetIo().context,
                            [this, &worker](const ErrorCode& error, Tcp::socket socket) {
                              OnSocket(worker, error, std::move(socket));
                            });
  }

  void OnSocket(Worker& worker, const ErrorCode& error, Tcp::socket socket) {
    if (!acceptor_) return;
    if (error && IsOutOfDescriptors(error)) {
      LogWarning("http_accept_failed", {{"reason", error.message()}});
      retry_ = Home().After(kAcceptBackOff, [this] { Accept(); });
      return;
    }
    if (!error) Deal(worker, std::move(socket));
    Accept();
  }

  void Deal(Worker& worker, Tcp::socket socket) {
    const std::size_t open = open_connections_.load();
    if (open >= options_.limits.connections_max + kRefusedAtOnceMax) return;
    std::shared_ptr<Refusal> refusal;
    if (open >= options_.limits.connections_max) {
      refusal = std::make_shared<Refusal>(Refusal{
          .status = 503, .code = "too_many_connections", .message = "too many connections; try again later"});
    }
    auto handed = std::make_shared<Tcp::socket>(std::move(socket));
    worker.thread->Loop().Post([&site = worker.site, handed, refusal] {
      ServeHttp(site, std::move(*handed), refusal ? std::make_unique<Refusal>(*refusal) : nullptr);
    });
  }

  const Options options_;
  std::atomic<std::size_t> open_connections_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Tcp::acceptor> acceptor_;  // first loop; null once no more is accepted
  Timer retry_;
  std::size_t next_ = 0;
  std::uint16_t port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options) {
  auto server = std::make_unique<Server>(std::move(options));
  BATON_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace baton::net
