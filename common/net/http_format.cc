#include "common/net/http_format.h"

#include <algorithm>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/beast/http/status.hpp>

namespace baton::net {
namespace {

bool IsOurs(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return name == "content-length" || name == "transfer-encoding" || name == "connection" || name == "date";
}

/// Without what would begin another header or another answer.
std::string OneLine(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
      ' ');
  return text;
}

}  // namespace

bool HasBody(int status) {
  return status >= 200 && status != 204 && status != 304;
}

std::string FormatHead(const HeadOptions& options, const HttpHeaders& headers) {
  const auto reason = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(options.status)));
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", options.status,
                  std::string_view(reason.data(), reason.size()), fmt::gmtime(std::time(nullptr)));
  for (const auto& [name, value] : headers) {
    if (!IsOurs(name)) head += fmt::format("{}: {}\r\n", OneLine(name), OneLine(value));
  }
  if (options.framing == BodyFraming::kLength)
    head += fmt::format("Content-Length: {}\r\n", options.body_bytes);
  if (options.framing == BodyFraming::kChunked) head += "Transfer-Encoding: chunked\r\n";
  head += options.keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

std::string FormatChunk(std::string_view bytes) {
  std::string chunk = fmt::format("{:x}\r\n", bytes.size());
  chunk.append(bytes);
  chunk.append("\r\n");
  return chunk;
}

}  // namespace baton::net
