#include "common/net/http_server.h"

#include <atomic>
#include <thread>

#include "common/base/error.h"
#include "common/net/http_client.h"
#include "tests/common/net/raw_socket.h"
#include "tests/common/net/support.h"

namespace baton::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using Handler = std::function<void(HttpRequest, std::shared_ptr<HttpResponder>)>;

std::unique_ptr<HttpServer> Serve(Handler handler, const HttpLimits& limits = {}, int threads = 1) {
  auto server =
      HttpServer::Start({.address = {.host = "127.0.0.1", .port = 0},
                         .threads = threads,
                         .limits = limits,
                         .handler = std::move(handler),
                         .error_body = [](int status, std::string_view code, std::string_view message) {
                           return fmt::format("{}|{}|{}", status, code, message);
                         }});
  REQUIRE(server.ok());
  return *std::move(server);
}

void Echo(HttpRequest request, const std::shared_ptr<HttpResponder>& responder) {
  responder->Send({.headers = {{"X-Path", request.path}}, .body = request.method + ":" + request.body});
}

Address At(const HttpServer& server) {
  return {.host = "127.0.0.1", .port = server.Port()};
}

absl::StatusOr<HttpResponse> Get(const HttpServer& server, std::string_view path = "/") {
  return HttpClient::Request(At(server), "GET", path, {}, "", seconds(20));
}

std::string Header(const HttpResponse& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "(none)";
}

/// A connection to the server, with a request or a part of one sent.
std::unique_ptr<RawSocket> Sent(const HttpServer& server, std::string_view text) {
  auto socket = std::make_unique<RawSocket>(server.Port());
  REQUIRE(socket->Send(text));
  return socket;
}

constexpr std::string_view kGet = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr std::string_view kGetAndClose = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

TEST_CASE("a request reaches the handler and its answer the client") {
  const auto server = Serve(Echo);

  const auto response =
      HttpClient::Request(At(*server), "POST", "/a%2Fb", {{"X-A", "b"}}, "body", seconds(20));

  REQUIRE(response.ok());
  CHECK(response->status == 200);
  CHECK(response->body == "POST:body");
  CHECK(Header(*response, "x-path") == "/a/b");
  CHECK(Header(*response, "content-length") == "9");
  CHECK(Header(*response, "date") != "(none)");
}

TEST_CASE("an answer of several megabytes arrives whole") {
  const std::string large(5U << 20, 'm');
  const auto server = Serve(
      [&](HttpRequest request, const auto& responder) { responder->Send({.body = large + request.body}); });

  const auto response = HttpClient::Request(At(*server), "POST", "/", {}, large, seconds(20));

  REQUIRE(response.ok());
  CHECK(response->body == large + large);
}

TEST_CASE("pipelined requests on one connection are answered in order") {
  const auto server = Serve(Echo);
  std::string requests;
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    const std::string body = std::to_string(i);
    requests +=
        fmt::format("POST /{} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{}", i, body.size(), body);
  }

  const auto socket = Sent(*server, requests + std::string(kGetAndClose));

  const std::string answers = socket->ReadAll();
  std::size_t at = 0;
  for (int i = 0; i < 50 && at != std::string::npos; ++i) at = answers.find("POST:" + std::to_string(i), at);
  CHECK(at != std::string::npos);
  CHECK_THAT(answers, Catch::EndsWith("GET:"));
}

TEST_CASE("HEAD gets the headers of GET without the body, and no body follows 204") {
  const auto server = Serve([](const HttpRequest& request, const auto& responder) {
    responder->Send({.status = request.path == "/none" ? 204 : 200, .body = "12345"});
  });

  const auto head = HttpClient::Request(At(*server), "HEAD", "/", {}, "", seconds(20));
  const auto socket = Sent(*server, "OPTIONS /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");

  REQUIRE(head.ok());
  CHECK(head->body.empty());
  CHECK(Header(*head, "content-length") == "5");
  const std::string none = socket->ReadAll();
  CHECK_THAT(none, Catch::StartsWith("HTTP/1.1 204 No Content\r\n") && Catch::EndsWith("\r\n\r\n"));
  CHECK_THAT(none, !Catch::Contains("Content-Length"));
}

TEST_CASE("an HTTP/1.0 client gets an answer and the end of the connection") {
  const auto server = Serve(Echo);
  const auto socket = Sent(*server, "GET / HTTP/1.0\r\n\r\n");

  CHECK_THAT(socket->ReadAll(), Catch::Contains("Connection: close\r\n") && Catch::EndsWith("\r\n\r\nGET:"));
}

TEST_CASE("Expect: 100-continue is answered before the body is sent") {
  const auto server = Serve(Echo);
  const auto socket = Sent(
      *server,
      "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");

  CHECK(socket->ReadUntil("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  REQUIRE(socket->Send("ab"));
  CHECK_THAT(socket->ReadAll(), Catch::EndsWith("POST:ab"));
}

TEST_CASE("requests that are refused get the error body, and never reach the handler") {
  HttpLimits limits;
  limits.header_bytes_max = 2000;
  limits.body_bytes_max = 1000;
  std::atomic<int> handled = 0;
  const auto server = Serve(
      [&](const HttpRequest&, const auto& responder) {
        ++handled;
        responder->Send({});
      },
      limits);
  const std::vector<std::pair<int, std::string>> cases = {
      {400, "nonsense\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {411, "POST / HTTP/1.1\r\nHost: h\r\n\r\n"},
      {413, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'x')},
      {413, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"},
      {431, "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(50'000, 'x') + "\r\n\r\n"},
  };

  for (const auto& [status, text] : cases) {
    CAPTURE(text.substr(0, 100));
    RawSocket socket(server->Port());
    (void)socket.Send(text);
    socket.ShutDownSending();
    const std::string answer = socket.ReadAll();
    CHECK_THAT(answer, Catch::StartsWith(fmt::format("HTTP/1.1 {} ", status)));
    CHECK_THAT(answer,
               Catch::Contains(fmt::format("\r\n\r\n{}|", status)) && Catch::Contains("Connection: close"));
  }
  CHECK(handled == 0);
}

TEST_CASE("a slow head or body times out with 408, a silent connection is closed") {
  HttpLimits limits;
  limits.header_timeout = milliseconds(300);
  limits.body_timeout = milliseconds(300);
  limits.idle_timeout = milliseconds(300);
  const auto server = Serve(Echo, limits);

  const auto silent = Sent(*server, "");
  const auto head = Sent(*server, "GET / HT");
  const auto body = Sent(*server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
  const auto idle = Sent(*server, kGet);

  CHECK(silent->ReadAll().empty());
  CHECK_THAT(head->ReadAll(), Catch::StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  CHECK_THAT(body->ReadAll(), Catch::StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  CHECK_THAT(idle->ReadAll(), Catch::EndsWith("GET:"));
}

TEST_CASE("a stream arrives chunk by chunk, as it is written, and ends cleanly") {
  std::shared_ptr<HttpResponder> stream;
  Signal begun;
  const auto server = Serve([&](const HttpRequest&, auto responder) {
    responder->BeginStream(200, {{"Content-Type", "text/event-stream"}});
    stream = responder;
    begun.Raise();
  });
  const auto socket = Sent(*server, kGetAndClose);
  REQUIRE(begun.Wait());
  CHECK_THAT(socket->ReadUntil("\r\n\r\n"), Catch::Contains("Transfer-Encoding: chunked\r\n"));

  for (int i = 0; i < 3; ++i) {
    CHECK(stream->Write(fmt::format("data: {}\n\n", i)));
    CHECK(socket->ReadSome() == fmt::format("9\r\ndata: {}\n\n\r\n", i));
  }
  CHECK(stream->Write(""));
  stream->End();
  stream = nullptr;

  CHECK(socket->ReadAll() == "0\r\n\r\n");
}

TEST_CASE("thousands of chunks from another thread arrive in order") {
  std::thread producer;
  const auto server = Serve([&](const HttpRequest&, std::shared_ptr<HttpResponder> responder) {
    producer = std::thread([responder = std::move(responder)] {
      responder->BeginStream(200, {});
      for (int i = 0; i < 5000; ++i) CHECK(responder->Write(fmt::format("{},", i)));
      responder->End();
    });
  });
  std::string expected;
  for (int i = 0; i < 5000; ++i) expected += fmt::format("{},", i);

  const auto response = Get(*server);
  producer.join();

  REQUIRE(response.ok());
  CHECK(response->body == expected);
}

TEST_CASE("a request that is dropped unanswered gets 500, a stream that is dropped is cut") {
  const auto server = Serve([](const HttpRequest& request, const auto& responder) {
    if (request.path == "/dropped") return;
    responder->BeginStream(200, {});
    CHECK(responder->Write("some"));
  });

  const auto dropped = Get(*server, "/dropped");
  std::string received;
  const auto cut =
      HttpClient::Stream(At(*server), "GET", "/cut", {}, "", seconds(20), [&](std::string_view piece) {
        received += piece;
        return true;
      });

  REQUIRE(dropped.ok());
  CHECK(dropped->status == 500);
  CHECK_THAT(dropped->body, Catch::StartsWith("500|internal_error|"));
  CHECK(cut.status().code() == kDataLoss);
  CHECK(received == "some");
}

TEST_CASE("an HTTP/1.0 client gets a stream without chunks, and a reset where it is cut") {
  const auto server = Serve([](const HttpRequest& request, const auto& responder) {
    responder->BeginStream(200, {});
    CHECK(responder->Write("abc"));
    if (request.path == "/whole") responder->End();
  });

  const auto whole = Sent(*server, "GET /whole HTTP/1.0\r\n\r\n");
  CHECK_THAT(whole->ReadAll(), Catch::EndsWith("\r\n\r\nabc") && !Catch::Contains("chunked"));
  const auto cut = HttpClient::Request(At(*server), "GET", "/cut", {}, "", seconds(20));
  CHECK_FALSE(cut.ok());
}

TEST_CASE("a client that goes away is noticed while its request is pending") {
  std::shared_ptr<HttpResponder> held;
  Signal begun, gone, late;
  const auto server = Serve([&](const HttpRequest&, auto responder) {
    responder->OnDisconnect([&] { gone.Raise(); });
    held = responder;
    begun.Raise();
  });
  {
    const auto socket = Sent(*server, kGet);
    REQUIRE(begun.Wait());
    CHECK_FALSE(gone.Raised());
  }

  CHECK(gone.Wait());
  held->OnDisconnect([&] { late.Raise(); });
  CHECK(late.Raised());
  held->Send({});  // goes nowhere
}

TEST_CASE("a client that resets is noticed in the middle of a stream, and writing fails from then on") {
  std::shared_ptr<HttpResponder> held;
  Signal begun, gone;
  const auto server = Serve([&](const HttpRequest&, auto responder) {
    responder->BeginStream(200, {});
    responder->OnDisconnect([&] { gone.Raise(); });
    held = responder;
    begun.Raise();
  });
  const auto socket = Sent(*server, kGet);
  REQUIRE(begun.Wait());
  CHECK(held->Write("x"));
  (void)socket->ReadUntil("x");

  socket->Reset();

  REQUIRE(gone.Wait());
  CHECK_FALSE(held->Write("y"));
}

TEST_CASE("a hang-up by the client of this module is noticed too") {
  std::shared_ptr<HttpResponder> held;
  Signal gone;
  const auto server = Serve([&](const HttpRequest&, auto responder) {
    responder->BeginStream(200, {});
    responder->OnDisconnect([&] { gone.Raise(); });
    CHECK(responder->Write("first"));
    held = responder;
  });

  const auto response = HttpClient::Stream(At(*server), "GET", "/", {}, "", seconds(20),
                                           [](std::string_view) { return false; });

  CHECK(response.status().code() == kCancelled);
  CHECK(gone.Wait());
}

TEST_CASE("nobody hears of a disconnect after the answer is complete") {
  auto token = std::make_shared<int>(0);
  Watched<int> answered;
  std::atomic<int> gone = 0;
  const auto server = Serve([&](const HttpRequest& request, const auto& responder) {
    responder->OnDisconnect([&gone, token] { ++gone; });
    Echo(request, responder);
    answered.Update([](int& n) { ++n; });
  });

  REQUIRE(Get(*server).ok());

  REQUIRE(answered.WaitFor([](int n) { return n == 1; }));
  CHECK(gone == 0);
}

TEST_CASE("a reader that is too slow fills its queue, then its time") {
  HttpLimits limits;
  limits.stream_queue_bytes_max = 256U << 10;
  limits.write_timeout = milliseconds(500);
  Signal begun, gone;
  std::shared_ptr<HttpResponder> held;
  const auto server = Serve(
      [&](const HttpRequest&, auto responder) {
        responder->BeginStream(200, {});
        responder->OnDisconnect([&] { gone.Raise(); });
        held = responder;
        begun.Raise();
      },
      limits);
  RawSocket slow(server->Port());
  slow.ShrinkReceiveBuffer();
  REQUIRE(slow.Send(kGet));
  REQUIRE(begun.Wait());

  const std::string piece(64U << 10, 's');
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  bool was_full = false;
  while (!gone.Raised() && std::chrono::steady_clock::now() < give_up) {
    if (held->Write(piece)) continue;
    was_full = true;
    std::this_thread::yield();
  }

  CHECK(was_full);
  CHECK(gone.Wait());
}

TEST_CASE("two hundred connections are served at once by several threads") {
  std::mutex mutex;
  std::vector<std::shared_ptr<HttpResponder>> waiting;
  Signal all_here;
  const auto server = Serve(
      [&](const HttpRequest&, auto responder) {
        const std::scoped_lock lock(mutex);
        waiting.push_back(std::move(responder));
        if (waiting.size() == 200) all_here.Raise();
      },
      {}, 3);

  std::vector<std::unique_ptr<RawSocket>> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(Sent(*server, kGetAndClose));
  REQUIRE(all_here.Wait());
  CHECK(server->OpenConnections() == 200);
  for (const auto& responder : waiting) responder->Send({.body = "done"});

  for (const auto& client : clients) CHECK_THAT(client->ReadAll(), Catch::EndsWith("done"));
}

TEST_CASE("past the limit of connections a client is told to try later") {
  HttpLimits limits;
  limits.connections_max = 2;
  const auto server = Serve(Echo, limits);
  const auto first = Sent(*server, kGet);
  const auto second = Sent(*server, kGet);
  CHECK_THAT(first->ReadUntil("GET:"), Catch::Contains("200 OK"));
  CHECK_THAT(second->ReadUntil("GET:"), Catch::Contains("200 OK"));

  RawSocket third(server->Port());

  CHECK_THAT(third.ReadAll(), Catch::StartsWith("HTTP/1.1 503 Service Unavailable\r\n") &&
                                  Catch::Contains("too_many_connections"));
}

TEST_CASE("stopping the server closes everything, tells the handlers and leaves no descriptor") {
  const std::size_t before = OpenDescriptors();
  std::atomic<int> gone = 0;
  std::vector<std::shared_ptr<HttpResponder>> held;  // outlives the server
  {
    Watched<int> begun;
    auto server = Serve([&](const HttpRequest& request, auto responder) {
      if (request.path == "/x") responder->BeginStream(200, {});
      responder->OnDisconnect([&] { ++gone; });
      held.push_back(responder);
      begun.Update([](int& n) { ++n; });
    });
    std::vector<std::unique_ptr<RawSocket>> clients;
    for (int i = 0; i < 10; ++i) clients.push_back(Sent(*server, kGet));
    for (int i = 0; i < 10; ++i) clients.push_back(Sent(*server, "GET /y HTTP/1.1\r\nHost: h\r\n\r\n"));
    clients.push_back(Sent(*server, "POST / HTTP/1.1\r\n"));
    REQUIRE(begun.WaitFor([](int n) { return n == 20; }));

    server = nullptr;

    CHECK(gone == 20);
    for (const auto& client : clients) (void)client->ReadAll();  // ends
  }
  CHECK(OpenDescriptors() == before);
  CHECK_FALSE(held[0]->Write("late"));
  held.clear();
}

TEST_CASE("headers of an answer cannot begin another one") {
  const auto server = Serve([](const HttpRequest&, const auto& responder) {
    responder->Send({.headers = {{"X-A", "b\r\nSet-Cookie: c"}, {"content-length", "999"}}, .body = "ok"});
  });

  const auto response = Get(*server);

  REQUIRE(response.ok());
  CHECK(Header(*response, "x-a") == "b  Set-Cookie: c");
  CHECK(Header(*response, "set-cookie") == "(none)");
  CHECK(response->body == "ok");
}

TEST_CASE("serving goes on after the process ran out of descriptors") {
  const auto server = Serve(Echo);
  std::unique_ptr<RawSocket> waiting;
  {
    const NoMoreDescriptors none(1);
    waiting = Sent(*server, kGetAndClose);
    CHECK_FALSE(waiting->Readable(milliseconds(30)));
  }
  CHECK_THAT(waiting->ReadAll(), Catch::EndsWith("GET:"));
}

TEST_CASE("the client says why there is no answer") {
  std::uint16_t closed_port = 0;
  {
    const RawListener gone;
    closed_port = gone.Port();
  }
  RawListener mute;
  RawListener broken;
  std::thread answer([&] { broken.AcceptAndSend("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"); });

  const auto request = [](std::uint16_t port, Duration timeout) {
    return HttpClient::Request({.host = "127.0.0.1", .port = port}, "GET", "/", {}, "", timeout)
        .status()
        .code();
  };
  CHECK(request(closed_port, seconds(20)) == kUnavailable);
  CHECK(request(mute.Port(), milliseconds(20)) == kDeadlineExceeded);
  CHECK(request(broken.Port(), seconds(20)) == kDataLoss);
  answer.join();
}

}  // namespace
}  // namespace baton::net
