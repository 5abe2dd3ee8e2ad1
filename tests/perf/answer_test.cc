#include "perf/answer.h"

#include <catch2/catch.hpp>

#include "common/net/http_server.h"

namespace baton::perf {
namespace {

/// A server that answers everything with one body, in the pieces given.
class FixedServer {
 public:
  FixedServer(int status, std::vector<std::string> pieces, bool stream) {
    auto server = net::HttpServer::Start(
        {.address = {.host = "127.0.0.1", .port = 0},
         .threads = 1,
         .limits = {},
         .handler =
             [status, pieces, stream](const net::HttpRequest&,
                                      const std::shared_ptr<net::HttpResponder>& responder) {
               if (!stream) return responder->Send({.status = status, .headers = {}, .body = pieces.front()});
               responder->BeginStream(status, {});
               for (const std::string& piece : pieces) responder->Write(piece);
               responder->End();
             },
         .error_body = [](int, std::string_view, std::string_view) { return std::string("{}"); }});
    REQUIRE(server.ok());
    server_ = *std::move(server);
  }
  [[nodiscard]] Answer Ask(bool stream) const {
    return perf::Ask(
        {.server = {.host = "127.0.0.1", .port = server_->Port()}, .body = "{}", .stream = stream});
  }

 private:
  std::unique_ptr<net::HttpServer> server_;
};

const std::string kFirst =
    R"(data: {"choices":[{"delta":{"role":"assistant","content":"He"},"finish_reason":null}]})"
    "\n\n";
const std::string kSecond = R"(data: {"choices":[{"delta":{"content":"y"},"finish_reason":null}]})"
                            "\n\n";
const std::string kFinish = R"(data: {"choices":[{"delta":{},"finish_reason":"stop"}]})"
                            "\n\n";
const std::string kUsage = R"(data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}})"
                           "\n\n";
const std::string kError = R"(data: {"error":{"code":"worker_lost","message":"gone"}})"
                           "\n\n";
const std::string kDone = "data: [DONE]\n\n";

}  // namespace

TEST_CASE("a whole stream is read into text, finish and usage") {
  const FixedServer server(200, {kFirst, kSecond, kFinish, kUsage, kDone}, true);
  const Answer answer = server.Ask(true);
  INFO(answer.Describe());
  CHECK(answer.Complete());
  CHECK(answer.text == "Hey");
  CHECK(answer.text_at.size() == 2);
  CHECK(answer.finish_reason == "stop");
  REQUIRE(answer.usage.has_value());
  CHECK(answer.usage->completion_tokens == 2);
}

TEST_CASE("a stream with an error event, or without [DONE], is not complete") {
  const Answer failed = FixedServer(200, {kFirst, kError, kDone}, true).Ask(true);
  CHECK(!failed.Complete());
  CHECK(failed.error_code == "worker_lost");
  CHECK(failed.done);
  CHECK(failed.framing_error.empty());

  const Answer cut = FixedServer(200, {kFirst, kFinish}, true).Ask(true);
  CHECK(!cut.Complete());
  CHECK(!cut.framing_error.empty());
}

TEST_CASE("an error body is read whether a stream was asked for or not") {
  for (const bool stream : {false, true}) {
    const FixedServer server(503, {R"({"error":{"code":"draining","message":"later"}})"}, false);
    const Answer answer = server.Ask(stream);
    INFO(answer.Describe());
    CHECK(answer.status == 503);
    CHECK(answer.error_code == "draining");
    CHECK(answer.framing_error.empty());
  }
}

TEST_CASE("no server is a transport error") {
  const Answer answer = Ask({.server = {.host = "127.0.0.1", .port = 1}, .body = "{}"});
  CHECK(answer.status == 0);
  CHECK(!answer.transport_error.empty());
}

TEST_CASE("only the URL of a server is taken") {
  CHECK(ParseUrl("http://127.0.0.1:8080/")->port == 8080);
  CHECK(!ParseUrl("https://127.0.0.1:8080").ok());
  CHECK(!ParseUrl("http://127.0.0.1:8080/v1").ok());
}

}  // namespace baton::perf
