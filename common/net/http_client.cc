#include "common/net/http_client.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "common/base/error.h"
#include "common/net/http_parser.h"
#include "common/net/io.h"

namespace baton::net {
namespace {

namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;
using Tcp = boost::asio::ip::tcp;

std::string RequestText(const Address& address, std::string_view method, std::string_view path,
                        const HttpHeaders& headers, std::string_view body) {
  std::string text =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", method, path, address.ToString());
  for (const auto& [name, value] : headers) text += fmt::format("{}: {}\r\n", name, value);
  if (!body.empty() || method == "POST") text += fmt::format("Content-Length: {}\r\n", body.size());
  text += "\r\n";
  text.append(body);
  return text;
}

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

/// One request on one connection, driven by a loop of its own until `deadline`.
class Call {
 public:
  Call(const Address& address, Duration timeout, const HttpClient::OnPiece& on_piece)
      : address_(address),
        timeout_(timeout),
        deadline_(std::chrono::steady_clock::now() + timeout),
        on_piece_(on_piece) {
    parser_.body_limit(boost::none);
    parser_.header_limit(kHttpHeadBytesMax);
  }

  absl::StatusOr<HttpResponse> Run(const std::string& request, bool head_only) {
    parser_.skip(head_only);
    BATON_RETURN_IF_ERROR(Connect());
    BATON_RETURN_IF_ERROR(Exchange(request));
    HttpResponse response{
        .status = static_cast<int>(parser_.get().result_int()), .headers = {}, .body = std::move(body_)};
    for (const auto& field : parser_.get()) {
      const auto name = field.name_string();
      response.headers.emplace_back(LowerCase({name.data(), name.size()}),
                                    std::string(field.value().data(), field.value().size()));
    }
    return response;
  }

 private:
  /// Runs the loop until the operation that `start` begins has ended: its error, or nothing past the
  /// deadline.
  template <typename Start>
  std::optional<ErrorCode> Await(Start start) {
    std::optional<ErrorCode> result;
    start([&result](const ErrorCode& error) { result = error; });
    context_.restart();
    while (!result && context_.run_one_until(deadline_) > 0) continue;
    if (!result) {
      ErrorCode ignored;
      socket_.close(ignored);
      resolver_.cancel();
      context_.restart();
      context_.run();  // lets the operation see its end before its frame is gone
      return std::nullopt;
    }
    return result;
  }

  absl::Status TooLate(std::string_view what) const {
    return Error(kDeadlineExceeded, "{}: {} within {:.3f} s", address_.ToString(), what, Seconds(timeout_));
  }

  absl::Status Connect() {
    Tcp::resolver::results_type endpoints;
    const auto resolved = Await([&](auto done) {
      resolver_.async_resolve(
          address_.host, std::to_string(address_.port),
          [done, &endpoints](const ErrorCode& error, const Tcp::resolver::results_type& found) mutable {
            endpoints = found;
            done(error);
          });
    });
    if (!resolved) return TooLate("no address");
    if (*resolved) return Error(kUnavailable, "resolve {}: {}", address_.host, resolved->message());
    const auto connected = Await([&](auto done) {
      boost::asio::async_connect(
          socket_, endpoints, [done](const ErrorCode& error, const Tcp::endpoint&) mutable { done(error); });
    });
    if (!connected) return TooLate("no connection");
    if (*connected)
      return Error(kUnavailable, "connect to {}: {}", address_.ToString(), connected->message());
    ErrorCode ignored;
    socket_.set_option(Tcp::no_delay(true), ignored);
    return absl::OkStatus();
  }

  absl::Status Exchange(const std::string& request) {
    const auto sent = Await([&](auto done) {
      boost::asio::async_write(socket_, boost::asio::buffer(request),
                               [done](const ErrorCode& error, std::size_t) mutable { done(error); });
    });
    if (!sent) return TooLate("the request could not be sent");
    // A server that refuses a request may close before it has read all of it: the answer is read all the
    // same.
    std::string received;
    while (!parser_.is_done()) {
      std::array<char, 16384> buffer;
      std::size_t count = 0;
      const auto read = Await([&](auto done) {
        socket_.async_read_some(boost::asio::buffer(buffer),
                                [done, &count](const ErrorCode& error, std::size_t n) mutable {
                                  count = n;
                                  done(error);
                                });
      });
      if (!read) return TooLate("no whole answer");
      if (*read) return OnEnd(*read);
      received.append(buffer.data(), count);
      BATON_RETURN_IF_ERROR(Parse(received));
    }
    return absl::OkStatus();
  }

  absl::Status Parse(std::string& received) {
    while (!received.empty() && !parser_.is_done()) {
      ErrorCode error;
      const bool in_chunks = parser_.is_header_done() && parser_.chunked();
      if (in_chunks && received.size() < kLastChunkBytesMin) break;
      const std::size_t size = std::min(received.size(), kHttpHeadBytesMax);
      const std::size_t count = parser_.put(boost::asio::buffer(received.data(), size), error);
      received.erase(0, count);
      if (error && error != http::error::need_more) {
        return Error(kDataLoss, "{}: malformed answer: {}", address_.ToString(), error.message());
      }
      BATON_RETURN_IF_ERROR(Deliver());
      if (error || count == 0) break;
    }
    if (received.size() > kHttpHeadBytesMax) {
      return Error(kDataLoss, "{}: malformed answer: headers without an end", address_.ToString());
    }
    return absl::OkStatus();
  }

  absl::Status Deliver() {
    const std::string piece = std::exchange(parser_.get().body(), {});
    if (piece.empty()) return absl::OkStatus();
    if (!on_piece_) {
      body_ += piece;
    } else if (!on_piece_(piece)) {
      return Error(kCancelled, "{}: hung up by the caller", address_.ToString());
    }
    return absl::OkStatus();
  }

  absl::Status OnEnd(const ErrorCode& why) {
    ErrorCode error;
    if (why == boost::asio::error::eof) parser_.put_eof(error);
    if (why == boost::asio::error::eof && !error && parser_.is_done()) return absl::OkStatus();
    if (!parser_.is_header_done())
      return Error(kUnavailable, "{}: no answer: {}", address_.ToString(), why.message());
    return Error(kDataLoss, "{}: the answer was cut off: {}", address_.ToString(), why.message());
  }

  const Address& address_;
  const Duration timeout_;
  const TimePoint deadline_;
  const HttpClient::OnPiece& on_piece_;
  boost::asio::io_context context_{1};
  Tcp::resolver resolver_{context_};
  Tcp::socket socket_{context_};
  http::response_parser<http::string_body> parser_;
  std::string body_;
};

}  // namespace

absl::StatusOr<HttpResponse> HttpClient::Request(const Address& address, std::string_view method,
                                                 std::string_view path, const HttpHeaders& headers,
                                                 std::string_view body, Duration timeout) {
  return Stream(address, method, path, headers, body, timeout, nullptr);
}

absl::StatusOr<HttpResponse> HttpClient::Stream(const Address& address, std::string_view method,
                                                std::string_view path, const HttpHeaders& headers,
                                                std::string_view body, Duration timeout,
                                                const OnPiece& on_piece) {
  return Call(address, timeout, on_piece)
      .Run(RequestText(address, method, path, headers, body), method == "HEAD");
}

}  // namespace baton::net
