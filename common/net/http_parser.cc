#include "common/net/http_parser.h"

#include <algorithm>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::net {
namespace {

namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;

std::string Text(boost::beast::string_view view) {
  return {view.data(), view.size()};
}

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Refusal RefusalFor(const ErrorCode& error, const HttpLimits& limits) {
  if (error == http::error::header_limit) {
    return {
        .status = 431,
        .code = "headers_too_large",
        .message = fmt::format("the request's headers are longer than {} bytes", limits.header_bytes_max)};
  }
  if (error == http::error::body_limit) {
    return {.status = 413,
            .code = "body_too_large",
            .message = fmt::format("the request's body is longer than {} bytes", limits.body_bytes_max)};
  }
  if (error == http::error::bad_version) {
    return {.status = 505,
            .code = "http_version_not_supported",
            .message = "only HTTP/1.1 and HTTP/1.0 are spoken"};
  }
  return {.status = 400,
          .code = "malformed_request",
          .message = fmt::format("malformed HTTP: {}", error.message())};
}

Refusal Malformed(std::string message) {
  return {.status = 400, .code = "malformed_request", .message = std::move(message)};
}

/// Splits a request target into path and query; an authority in front (a proxy's form) is left out.
bool SplitTarget(std::string_view target, HttpRequest& request) {
  if (target.find('#') != std::string_view::npos) return false;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const std::size_t slash = target.find_first_of("/?");
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  const std::size_t mark = target.find('?');
  if (mark != std::string_view::npos) request.query = std::string(target.substr(mark + 1));
  const std::string_view path = target.substr(0, mark);
  if (path == "*") {
    request.path.assign(1, '*');  // not = "*": GCC 12 warns of a copy that is not there
    return request.method == "OPTIONS";
  }
  return path.starts_with('/') && PercentDecode(path, request.path);
}

}  // namespace

bool PercentDecode(std::string_view text, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const int high = HexDigit(text[i + 1]);
    const int low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return false;
    const int code = high * 16 + low;
    if (code < 0x20 || code == 0x7f) return false;
    out.push_back(static_cast<char>(code));
    i += 2;
  }
  return true;
}

const std::string* HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

struct RequestParser::Impl {
  explicit Impl(const HttpLimits& l) : limits(l) {
    limits.header_bytes_max = std::min(limits.header_bytes_max, kHttpHeadBytesMax);
    parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes_max));
    parser.body_limit(limits.body_bytes_max);
  }

  HttpLimits limits;
  http::request_parser<http::string_body> parser;
  State state = State::kHead;
  std::size_t head_bytes = 0;
  bool expects_continue = false;
  HttpRequest request;
  Refusal refusal;

  void Refuse(Refusal why) {
    state = State::kRefused;
    refusal = std::move(why);
  }

  /// What Beast lets pass and we do not.
  void CheckHead() {
    // Beast measures the first line and the fields apart, but only where both come at once.
    if (head_bytes > limits.header_bytes_max) return Refuse(RefusalFor(http::error::header_limit, limits));
    const auto& head = parser.get();
    const auto coding = head.equal_range(http::field::transfer_encoding);
    const bool coded = coding.first != coding.second;
    const bool sized = head.count(http::field::content_length) > 0;
    const std::string method = Text(head.method_string());
    if (coded && sized) return Refuse(Malformed("both Content-Length and Transfer-Encoding"));
    if (coded && head.version() < 11) return Refuse(Malformed("Transfer-Encoding in HTTP/1.0"));
    if (coded &&
        (std::next(coding.first) != coding.second || LowerCase(Text(coding.first->value())) != "chunked")) {
      return Refuse({.status = 501,
                     .code = "unsupported_coding",
                     .message = "only Transfer-Encoding: chunked is read"});
    }
    if (!coded && !sized && (method == "POST" || method == "PUT" || method == "PATCH")) {
      return Refuse({.status = 411,
                     .code = "length_required",
                     .message = fmt::format("{} needs a Content-Length", method)});
    }
    const std::size_t hosts = head.count(http::field::host);
    if (hosts > 1 || (hosts == 0 && head.version() >= 11))
      return Refuse(Malformed("exactly one Host is needed"));
    if (const auto expect = head.find(http::field::expect); expect != head.end()) {
      if (LowerCase(Text(expect->value())) != "100-continue") {
        return Refuse(
            {.status = 417, .code = "expectation_failed", .message = "only Expect: 100-continue is known"});
      }
      expects_continue = head.version() >= 11;
    }
    request.method = method;
    if (!SplitTarget({head.target().data(), head.target().size()}, request)) {
      return Refuse(Malformed("the request's target is no valid path"));
    }
    for (const auto& field : head) {
      request.headers.emplace_back(LowerCase(Text(field.name_string())), Text(field.value()));
    }
    state = parser.is_done() ? State::kComplete : State::kBody;
  }
};

RequestParser::RequestParser(const HttpLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestParser::~RequestParser() = default;

std::size_t RequestParser::Consume(std::string_view bytes) {
  std::size_t consumed = 0;
  while (impl_->state != State::kComplete && impl_->state != State::kRefused && consumed < bytes.size()) {
    const std::string_view slice = bytes.substr(consumed, kHttpHeadBytesMax);
    const bool in_chunks = impl_->state == State::kBody && impl_->parser.chunked();
    if (in_chunks && slice.size() < kLastChunkBytesMin) break;
    ErrorCode error;
    const std::size_t count = impl_->parser.put(boost::asio::buffer(slice.data(), slice.size()), error);
    consumed += count;
    if (impl_->state == State::kHead) impl_->head_bytes += count;
    if (error && error != http::error::need_more) {
      impl_->Refuse(RefusalFor(error, impl_->limits));
      break;
    }
    if (impl_->state == State::kHead && impl_->parser.is_header_done()) {
      impl_->CheckHead();
    } else if (impl_->state == State::kBody && impl_->parser.is_done()) {
      impl_->state = State::kComplete;
    } else if (error || count == 0) {
      break;
    }
  }
  // Beast counts only what it has taken; a head or a trailer without an end stays with the caller and must
  // not grow.
  const bool unfinished = impl_->state == State::kHead || impl_->state == State::kBody;
  if (unfinished && bytes.size() - consumed > impl_->limits.header_bytes_max) {
    impl_->Refuse(RefusalFor(http::error::header_limit, impl_->limits));
  }
  return consumed;
}

RequestParser::State RequestParser::GetState() const {
  return impl_->state;
}
bool RequestParser::ExpectsContinue() const {
  return impl_->expects_continue;
}
bool RequestParser::KeepAlive() const {
  return impl_->parser.get().keep_alive();
}
bool RequestParser::UnderstandsChunks() const {
  return impl_->parser.get().version() >= 11;
}

HttpRequest RequestParser::Take() {
  BATON_CHECK(impl_->state == State::kComplete);
  impl_->request.body = std::move(impl_->parser.get().body());
  return std::move(impl_->request);
}

const Refusal& RequestParser::GetRefusal() const {
  return impl_->refusal;
}

}  // namespace baton::net
