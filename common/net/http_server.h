#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/net/connection.h"

namespace baton::net {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method = {};
  std::string path = {};     // percent-decoded, without the query
  std::string query = {};    // raw, without '?'
  HttpHeaders headers = {};  // names in lower case
  std::string body = {};
  /// The first header `name` (lower case), or nothing.
  [[nodiscard]] const std::string* Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  HttpHeaders headers = {};  // Content-Length, Transfer-Encoding, Connection and Date are the server's
  std::string body = {};
};

/// The answer to one request: either `Send` once, or `BeginStream`, any number of `Write` and one `End`. Any
/// thread. Destroying it unanswered answers 500; in the middle of a stream it cuts the connection (never a
/// clean end).
class HttpResponder {
 public:
  virtual ~HttpResponder() = default;
  virtual void Send(HttpResponse response) = 0;
  /// Sends the headers of a chunked body.
  virtual void BeginStream(int status, HttpHeaders headers) = 0;
  /// One chunk, one write to the socket. False where the client is gone or reads too slowly (queue full): the
  /// caller stops producing.
  virtual bool Write(std::string_view chunk) = 0;
  virtual void End() = 0;
  /// Runs `gone` once (on a server thread) when the client goes away before the answer is complete; at once,
  /// on the caller's thread, where it already has.
  virtual void OnDisconnect(std::function<void()> gone) = 0;
};

struct HttpLimits {
  std::size_t body_bytes_max = 8U << 20;
  std::size_t header_bytes_max = 32U << 10;  // at most 60 KiB
  std::size_t connections_max = 10000;
  std::size_t stream_queue_bytes_max = 1U << 20;  // unsent bytes of one stream, or one piece
  Duration header_timeout = std::chrono::seconds(10);
  Duration body_timeout = std::chrono::seconds(30);
  Duration idle_timeout = std::chrono::seconds(75);
  Duration write_timeout = std::chrono::seconds(30);
};

/// HTTP/1.1 on `threads` threads of its own. Malformed requests, and those past a limit, are answered with
/// the JSON error body that `error_body(status, code, message)` makes, and never reach the handler.
class HttpServer {
 public:
  struct Options {
    Address address;
    int threads = 1;
    HttpLimits limits;
    /// Runs on a server thread; returns quickly.
    std::function<void(HttpRequest, std::shared_ptr<HttpResponder>)> handler;
    std::function<std::string(int status, std::string_view code, std::string_view message)> error_body;
  };
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options);
  virtual ~HttpServer() = default;  // closes what is open and joins the threads
  [[nodiscard]] virtual std::uint16_t Port() const = 0;
  [[nodiscard]] virtual std::size_t OpenConnections() const = 0;
};

}  // namespace baton::net
