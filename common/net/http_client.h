#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/net/connection.h"
#include "common/net/http_server.h"

namespace baton::net {

/// A blocking HTTP/1.1 client for tools and tests: one connection a request, no redirects, no TLS.
/// Thread-safe, since it keeps nothing.
class HttpClient {
 public:
  /// A piece of the body as it came (chunks decoded, not joined). False hangs up at once.
  using OnPiece = std::function<bool(std::string_view piece)>;

  /// The whole answer, of any status; header names in lower case. Unavailable where the connection fails,
  /// DataLoss where the answer is cut off or malformed, DeadlineExceeded where it is not whole within
  /// `timeout`.
  [[nodiscard]] static absl::StatusOr<HttpResponse> Request(const Address& address, std::string_view method,
                                                            std::string_view path, const HttpHeaders& headers,
                                                            std::string_view body, Duration timeout);

  /// The same, but the body goes to `on_piece` piece by piece and is empty in the result. Cancelled where
  /// `on_piece` hung up.
  [[nodiscard]] static absl::StatusOr<HttpResponse> Stream(const Address& address, std::string_view method,
                                                           std::string_view path, const HttpHeaders& headers,
                                                           std::string_view body, Duration timeout,
                                                           const OnPiece& on_piece);
};

}  // namespace baton::net
