#include "router/sinks.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/metrics/registry.h"

namespace baton::router {
namespace {

using std::chrono::seconds;

struct Wire {
  int status = 0;
  net::HttpHeaders headers;
  std::string body;
  std::vector<std::string> writes;
  bool ended = false;
  bool broken = false;
};

class FakeResponder final : public net::HttpResponder {
 public:
  explicit FakeResponder(Wire& wire) : wire_(wire) {}
  void Send(net::HttpResponse response) override {
    REQUIRE(wire_.status == 0);
    wire_.status = response.status;
    wire_.headers = response.headers;
    wire_.body = response.body;
  }
  void BeginStream(int status, net::HttpHeaders headers) override {
    REQUIRE(wire_.status == 0);
    wire_.status = status;
    wire_.headers = std::move(headers);
  }
  bool Write(std::string_view chunk) override {
    REQUIRE(wire_.status == 200);
    if (!wire_.broken) wire_.writes.emplace_back(chunk);
    return !wire_.broken;
  }
  void End() override { wire_.ended = true; }
  void OnDisconnect(std::function<void()> /*gone*/) override {}

 private:
  Wire& wire_;
};

struct Bench {
  SinkContext Context() {
    return {.responder = std::make_shared<FakeResponder>(wire),
            .head = {Endpoint::kChat, "chatcmpl-1", "m", "fp", 7},
            .headers = {{"x-request-id", "r"}},
            .clock = &clock,
            .probe = &probe};
  }
  [[nodiscard]] std::string Header(std::string_view name) const {
    for (const auto& [key, value] : wire.headers) {
      if (key == name) return value;
    }
    return "";
  }
  Wire wire;
  ManualClock clock;
  metrics::Registry metrics;
  Probe probe{metrics};
};

const Usage kUsage{.prompt_tokens = 1, .completion_tokens = 1};

TEST_CASE("a stream begins with its first token, one write an event") {
  Bench bench;
  const auto sink = MakeStreamSink(bench.Context(), UsageStyle::kNull);
  CHECK(bench.wire.status == 0);
  CHECK(sink->Text({.text = "a"}, kUsage));
  CHECK(sink->Text({.text = "b"}, kUsage));
  sink->Finish(0, {"stop", {}}, kUsage);
  REQUIRE(bench.wire.writes.size() == 5);
  CHECK(bench.wire.writes[0].find("\"role\"") != std::string::npos);
  CHECK(bench.wire.writes[1].find("\"role\"") == std::string::npos);
  CHECK(bench.wire.writes[2].find("\"finish_reason\":\"stop\"") != std::string::npos);
  CHECK(bench.wire.writes[3].find("\"choices\":[]") != std::string::npos);
  CHECK(bench.wire.writes[4] == kDoneEvent);
  CHECK(bench.wire.ended);
  CHECK(bench.Header("x-request-id") == "r");
}

TEST_CASE("ten silent seconds bring a comment, and the role still waits for the first token") {
  Bench bench;
  const auto sink = MakeStreamSink(bench.Context(), UsageStyle::kAbsent);
  bench.clock.Advance(seconds(9));
  CHECK(sink->Tick(bench.clock.Now()));
  CHECK(bench.wire.status == 0);
  bench.clock.Advance(seconds(1));
  CHECK(sink->Tick(bench.clock.Now()));
  CHECK(bench.wire.status == 200);
  CHECK(bench.wire.writes == std::vector<std::string>{": keep-alive\n\n"});
  bench.clock.Advance(seconds(5));
  CHECK(sink->Tick(bench.clock.Now()));
  CHECK(bench.wire.writes.size() == 1);
  CHECK(sink->Text({.text = "a"}, kUsage));
  CHECK(bench.wire.writes.at(1).find("\"role\"") != std::string::npos);
  bench.clock.Advance(seconds(9));
  CHECK(sink->Tick(bench.clock.Now()));
  CHECK(bench.wire.writes.size() == 2);
}

TEST_CASE("a failure before the first byte has its own status") {
  Bench bench;
  const auto sink = MakeStreamSink(bench.Context(), UsageStyle::kAbsent);
  sink->Fail(Refused(Refusal::kQueueFull));
  CHECK(bench.wire.status == 503);
  CHECK(bench.wire.body.find("queue_full") != std::string::npos);
  CHECK_FALSE(bench.Header("Retry-After").empty());
  CHECK(bench.Header("Content-Type") == "application/json");
}

TEST_CASE("a failure in the middle is an error event and [DONE]") {
  Bench bench;
  const auto sink = MakeStreamSink(bench.Context(), UsageStyle::kNull);
  CHECK(sink->Text({.text = "a"}, kUsage));
  sink->Fail(DeadlineExceeded());
  REQUIRE(bench.wire.writes.size() == 3);
  CHECK(bench.wire.writes[1].find(
            "\"type\":\"server_error\",\"param\":null,\"code\":\"deadline_exceeded\"") != std::string::npos);
  CHECK(bench.wire.writes[2] == kDoneEvent);
  CHECK(bench.wire.ended);
}

TEST_CASE("a client that no longer reads is noticed by text and by signs of life") {
  Bench bench;
  const auto sink = MakeStreamSink(bench.Context(), UsageStyle::kAbsent);
  bench.wire.broken = true;
  CHECK_FALSE(sink->Text({.text = "a"}, kUsage));
  bench.clock.Advance(seconds(10));
  CHECK_FALSE(sink->Tick(bench.clock.Now()));
}

TEST_CASE("a stream that has lost an event does not end cleanly, however it ends") {
  for (const bool fails : {false, true}) {
    Bench bench;
    const auto sink = MakeStreamSink(bench.Context(), UsageStyle::kAbsent);
    CHECK(sink->Text({.text = "a"}, kUsage));
    bench.wire.broken = true;
    CHECK_FALSE(sink->Text({.text = "b"}, kUsage));
    bench.wire.broken = false;  // there is room again: for the end, not for what was lost
    if (fails) {
      sink->Fail(DeadlineExceeded());
    } else {
      sink->Finish(0, {"stop", {}}, kUsage);
    }
    CHECK_FALSE(bench.wire.ended);
    CHECK(bench.wire.writes.size() == 1);
  }
}

TEST_CASE("a whole answer is sent once, at the end") {
  Bench bench;
  const auto sink = MakeWholeSink(bench.Context());
  CHECK(sink->Text({.text = "a"}, kUsage));
  CHECK(sink->Text({.text = "b"}, kUsage));
  bench.clock.Advance(seconds(60));
  CHECK(sink->Tick(bench.clock.Now()));
  CHECK(bench.wire.status == 0);
  sink->Finish(0, {"length", {}}, kUsage);
  CHECK(bench.wire.status == 200);
  CHECK(bench.wire.body.find("\"content\":\"ab\"") != std::string::npos);
}

TEST_CASE("a stream of several choices gives each its role and its end, and ends with the last") {
  Bench bench;
  SinkContext context = bench.Context();
  context.choices = 2;
  const auto sink = MakeStreamSink(std::move(context), UsageStyle::kAbsent);
  CHECK(sink->Text({.choice = 1, .text = "b"}, kUsage));
  CHECK(sink->Text({.choice = 0, .text = "a"}, kUsage));
  CHECK(sink->Text({.choice = 1, .text = "c"}, kUsage));
  sink->Finish(1, {"stop", {}}, kUsage);
  CHECK_FALSE(bench.wire.ended);
  CHECK(sink->Text({.choice = 0, .text = "d"}, kUsage));
  sink->Finish(0, {"length", {}}, kUsage);
  CHECK(bench.wire.ended);
  REQUIRE(bench.wire.writes.size() == 7);
  const auto has = [&](std::size_t i, std::string_view text) {
    return bench.wire.writes[i].find(text) != std::string::npos;
  };
  CHECK((has(0, "\"role\"") && has(0, "\"index\":1")));
  CHECK((has(1, "\"role\"") && has(1, "\"index\":0")));
  CHECK_FALSE(has(2, "\"role\""));
  CHECK((has(3, "\"finish_reason\":\"stop\"") && has(3, "\"index\":1")));
  CHECK((has(5, "\"finish_reason\":\"length\"") && has(5, "\"index\":0")));
  CHECK(bench.wire.writes[6] == kDoneEvent);
}

TEST_CASE("several requests are one answer: choices numbered through, usage summed") {
  Bench bench;
  SinkContext context = bench.Context();
  context.choices = 4;
  const auto parts = Divide(MakeWholeSink(std::move(context)), 2, 2);
  REQUIRE(parts.size() == 2);
  CHECK(parts[1]->Text({.choice = 1, .text = "three"}, {.prompt_tokens = 5, .completion_tokens = 2}));
  parts[1]->Finish(0, {"stop", {}}, {.prompt_tokens = 5, .completion_tokens = 3});
  parts[1]->Finish(1, {"stop", {}}, {.prompt_tokens = 5, .completion_tokens = 4});
  parts[0]->Finish(0, {"stop", {}}, {.prompt_tokens = 7, .completion_tokens = 1});
  CHECK(bench.wire.status == 0);
  parts[0]->Finish(1, {"stop", {}}, {.prompt_tokens = 7, .completion_tokens = 2});
  CHECK(bench.wire.status == 200);
  CHECK(bench.wire.body.find("\"index\":3,\"message\":{\"role\":\"assistant\",\"content\":\"three\"") !=
        std::string::npos);
  CHECK(bench.wire.body.find("\"prompt_tokens\":12,\"completion_tokens\":6") != std::string::npos);
}

TEST_CASE("the first part that fails is the answer's failure, and the others end") {
  Bench bench;
  SinkContext context = bench.Context();
  context.choices = 2;
  const auto parts = Divide(MakeWholeSink(std::move(context)), 2, 1);
  parts[0]->Fail(Refused(Refusal::kQueueFull));
  CHECK(bench.wire.status == 503);
  CHECK_FALSE(parts[1]->Text({.text = "x"}, kUsage));
  CHECK_FALSE(parts[1]->Tick(bench.clock.Now()));
  parts[1]->Fail(DeadlineExceeded());
  parts[1]->Finish(0, {"stop", {}}, kUsage);
  CHECK(bench.wire.status == 503);
}

}  // namespace
}  // namespace baton::router
