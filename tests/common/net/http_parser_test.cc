#include "common/net/http_parser.h"

#include <catch2/catch.hpp>

namespace baton::net {
namespace {

using State = RequestParser::State;

HttpLimits SmallLimits() {
  HttpLimits limits;
  limits.header_bytes_max = 1024;
  limits.body_bytes_max = 100;
  return limits;
}

/// The status with which `text` is refused; 0 where it is complete, 1 where more is needed.
int Outcome(std::string_view text) {
  RequestParser parser(SmallLimits());
  (void)parser.Consume(text);
  if (parser.GetState() == State::kRefused) return parser.GetRefusal().status;
  return parser.GetState() == State::kComplete ? 0 : 1;
}

TEST_CASE("a request is the same however its bytes are cut") {
  const std::string text =
      "POST /v1/a%20b?x=%201 HTTP/1.1\r\nHost: h\r\nX-Two: A\r\nx-two: B\r\nTransfer-Encoding: "
      "chunked\r\n\r\n"
      "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    CAPTURE(step);
    RequestParser parser(SmallLimits());
    std::string waiting;
    for (std::size_t at = 0; at < text.size(); at += step) {
      waiting += text.substr(at, step);
      waiting.erase(0, parser.Consume(waiting));
    }

    REQUIRE(parser.GetState() == State::kComplete);
    CHECK(waiting.empty());
    CHECK(parser.KeepAlive());
    const HttpRequest request = parser.Take();
    CHECK(request.method == "POST");
    CHECK(request.path == "/v1/a b");
    CHECK(request.query == "x=%201");
    CHECK(request.body == "abcde");
    REQUIRE(request.Header("x-two") != nullptr);
    CHECK(*request.Header("x-two") == "A");
    CHECK(request.Header("absent") == nullptr);
  }
}

TEST_CASE("an empty chunked body may come in any pieces") {
  const std::string text = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  for (std::size_t first = 0; first <= 5; ++first) {
    for (std::size_t second = 0; first + second <= 5; ++second) {
      CAPTURE(first, second);
      RequestParser parser(SmallLimits());
      std::string waiting = text.substr(0, text.size() - first - second);
      waiting.erase(0, parser.Consume(waiting));
      waiting += text.substr(text.size() - first - second, first);
      waiting.erase(0, parser.Consume(waiting));
      waiting += text.substr(text.size() - second);
      waiting.erase(0, parser.Consume(waiting));

      CHECK(parser.GetState() == State::kComplete);
      CHECK(waiting.empty());
    }
  }
}

TEST_CASE("bytes of the next request are left alone") {
  RequestParser parser(SmallLimits());
  const std::string first = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

  CHECK(parser.Consume(first + "GET /next") == first.size());
  CHECK(parser.GetState() == State::kComplete);
}

TEST_CASE("requests with one meaning are read") {
  for (const char* text : {
           "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET / HTTP/1.0\r\n\r\n",
           "HEAD /x?y=z HTTP/1.1\r\nhost: h\r\n\r\n",
           "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET http://h:80/p?q HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
           "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n",
           "FROB / HTTP/1.1\r\nHost: h\r\n\r\n",
       }) {
    CAPTURE(text);
    CHECK(Outcome(text) == 0);
  }
}

TEST_CASE("malformed and ambiguous requests are refused") {
  const std::string h = "Host: h\r\n";
  const std::vector<std::pair<int, std::string>> cases = {
      {400, "\x16\x03\x01\x02\x01\r\n\r\n"},  // a TLS client
      {400, "GET\r\n\r\n"},
      {400, "GET /\r\n\r\n"},
      {400, "GET  / HTTP/1.1\r\n" + h + "\r\n"},
      {505, "GET / HTTP/1.1 \r\n" + h + "\r\n"},
      {505, "GET /a b HTTP/1.1\r\n" + h + "\r\n"},
      {400, "G@T / HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET nowhere HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET * HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET /%zz HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET /%0 HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET /%00 HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET /%0d%0aX HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET /#part HTTP/1.1\r\n" + h + "\r\n"},
      {400, "GET / HTTP/1.1\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" + h + h + "\r\n"},
      {400, "GET / HTTP/1.1\r\n" + h + "Bad Name: x\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" + h + "Name : x\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" + h + ": x\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n" + h + "X: a\x01z\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"},
      {400, "POST / HTTP/1.1\r\n" + h + "Content-Length: -1\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\n" + h + "Content-Length: 0x3\r\n\r\nabc"},
      {400, "POST / HTTP/1.1\r\n" + h + "Content-Length: 99999999999999999999\r\n\r\n"},
      {400, "POST / HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"},
      {400, "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n"},
      {501, "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
      {411, "POST / HTTP/1.1\r\n" + h + "\r\n"},
      {413, "POST / HTTP/1.1\r\n" + h + "Content-Length: 101\r\n\r\n"},
      {413, "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + std::string(101, 'x') +
                "\r\n"},
      {417, "POST / HTTP/1.1\r\n" + h + "Expect: magic\r\nContent-Length: 1\r\n\r\n"},
      {431, "GET / HTTP/1.1\r\n" + h + "X: " + std::string(2000, 'x') + "\r\n\r\n"},
      {431, "GET /" + std::string(2000, 'x')},
      {431,
       "GET /" + std::string(600, 'x') + " HTTP/1.1\r\n" + h + "X: " + std::string(600, 'x') + "\r\n\r\n"},
      {505, "GET / HTTP/2.0\r\n" + h + "\r\n"},
      {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
  };
  for (const auto& [status, text] : cases) {
    CAPTURE(text);
    CHECK(Outcome(text) == status);
  }
}

TEST_CASE("no field is so long that the library below throws, whatever the limit and wherever it stands") {
  HttpLimits limits;
  limits.header_bytes_max = 1U << 20;
  const std::string field = "X: " + std::string(70'000, 'x') + "\r\n\r\n";
  const std::vector<std::string> requests = {
      "GET / HTTP/1.1\r\nHost: h\r\n" + field,
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + field,
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x=" + std::string(70'000, 'x') +
          "\r\na\r\n",
  };
  for (const std::string& text : requests) {
    RequestParser parser(limits);
    (void)parser.Consume(text);

    REQUIRE(parser.GetState() == State::kRefused);
    CHECK(parser.GetRefusal().status == 431);
  }

  RequestParser parser(limits);
  (void)parser.Consume("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(50'000, 'x') + "\r\n\r\n");
  CHECK(parser.GetState() == State::kComplete);
}

TEST_CASE("an unfinished request is neither complete nor refused") {
  for (const char* text :
       {"", "G", "GET / HTTP/1.1\r\nHost: h\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"}) {
    CAPTURE(text);
    CHECK(Outcome(text) == 1);
  }
}

}  // namespace
}  // namespace baton::net
