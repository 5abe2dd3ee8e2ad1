#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "common/net/http_server.h"

/// Bytes to requests, without sockets: what the server feeds, and what the fuzzer does. Private to this
/// module.
namespace baton::net {

/// Why a request is not served: the answer's status, and what its error body says.
struct Refusal {
  int status = 400;
  std::string code = {};
  std::string message = {};
};

/// Parses one request from bytes as they come. Strict where two readings of a request are possible, since the
/// reading that a proxy in front of us takes may be the other one.
class RequestParser {
 public:
  enum class State { kHead, kBody, kComplete, kRefused };

  explicit RequestParser(const HttpLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  /// Takes what it can from the front of `bytes` and says how many; the rest is to be given again, with more
  /// behind it.
  [[nodiscard]] std::size_t Consume(std::string_view bytes);
  [[nodiscard]] State GetState() const;
  /// The client waits for leave to send the body. Once `kBody` is reached.
  [[nodiscard]] bool ExpectsContinue() const;
  [[nodiscard]] bool KeepAlive() const;
  /// The client understands chunks (HTTP/1.1).
  [[nodiscard]] bool UnderstandsChunks() const;
  /// Of `kComplete`; once.
  [[nodiscard]] HttpRequest Take();
  /// Of `kRefused`.
  [[nodiscard]] const Refusal& GetRefusal() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Beast keeps the length of a header field in 16 bits and throws past them. It is never shown more than this
/// at once, so that no field, of a head or a trailer, can be as long.
inline constexpr std::size_t kHttpHeadBytesMax = 60U << 10;

/// Beast asserts where it is shown a last chunk in pieces: "0", CR, LF and then one byte. No chunked body
/// ends in fewer bytes than these, so less is kept back until more has come.
inline constexpr std::size_t kLastChunkBytesMin = 5;

/// `text` with its %XX decoded. False where one is malformed or stands for a control character.
[[nodiscard]] bool PercentDecode(std::string_view text, std::string& out);

}  // namespace baton::net
