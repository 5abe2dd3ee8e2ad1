#pragma once

#include <string>
#include <string_view>

#include "common/net/http_server.h"

/// Answers as bytes. Pure but for the date. Private to this module.
namespace baton::net {

/// How the end of an answer's body is known.
enum class BodyFraming { kNone, kLength, kChunked, kUntilClose };

struct HeadOptions {
  int status = 200;
  BodyFraming framing = BodyFraming::kLength;
  std::size_t body_bytes = 0;  // of kLength
  bool keep_alive = true;
};

/// Status line and headers, the empty line included. Control characters in `headers` become spaces; those
/// that are the server's to set are left out.
[[nodiscard]] std::string FormatHead(const HeadOptions& options, const HttpHeaders& headers);
/// `bytes`, not empty, as one chunk.
[[nodiscard]] std::string FormatChunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
/// Whether answers of this status have a body at all.
[[nodiscard]] bool HasBody(int status);

}  // namespace baton::net
