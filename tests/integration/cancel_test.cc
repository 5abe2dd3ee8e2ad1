#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/integration/cluster.h"
#include "tests/integration/random_model.h"
#include "tests/integration/raw_client.h"
#include "tests/integration/traffic.h"

namespace baton::test {
namespace {

constexpr std::size_t kRequests = 300;
constexpr std::size_t kAtOnce = 24;
constexpr std::uint64_t kSeed = 2027;

/// A third hangs up: half of them after a random time (waiting, in the prompt, or in the hand-off), half
/// after a random piece of the answer.
std::vector<perf::AskOptions> ThirdCancelled() {
  RandomStream random(kSeed);
  std::vector<perf::AskOptions> requests;
  for (std::size_t i = 0; i < kRequests; ++i) {
    const std::int64_t prompt_tokens = random.Between(1, 600);
    perf::AskOptions request = LongStream(kSeed + i, prompt_tokens, i % 3 == 0 ? 400 : random.Between(1, 40));
    if (i % 6 == 0) request.timeout = std::chrono::milliseconds(random.Between(1, 400));
    if (i % 6 == 3) {
      request.on_text = [left = random.Between(1, 60)](std::string_view) mutable { return --left > 0; };
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace

TEST_CASE("after 300 requests, a third of them cancelled at random moments, nothing is held") {
  const RandomModel model;
  const WorkerSettings worker{.compute = "bf16", .kv_memory = "256MiB"};
  Cluster cluster({.model = model.Path(), .prefill = worker, .decode = worker});
  std::vector<perf::AskOptions> warm;
  for (std::uint64_t i = 0; i < kAtOnce; ++i) warm.push_back(LongStream(i, 100, 8));
  for (const perf::Answer& answer : AskAll(cluster, warm, kAtOnce)) REQUIRE(answer.Complete());
  cluster.RequireIdle();
  const std::vector<std::size_t> descriptors = cluster.Descriptors();

  const std::vector<perf::Answer> answers = AskAll(cluster, ThirdCancelled(), kAtOnce);

  std::size_t cancelled = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].hung_up) {
      ++cancelled;
      continue;
    }
    INFO("request " << i << ": " << answers[i].Describe());
    CHECK(answers[i].Complete());
  }
  CHECK(cancelled >= kRequests / 4);  // the timeouts that came too late are few
  cluster.RequireIdle();
  // Every connection of a client is closed, those between daemons stay: exactly as many as before.
  std::vector<std::size_t> now;
  const bool back = WaitUntil(std::chrono::seconds(10), [&] {
    now = cluster.Descriptors();
    return std::equal(now.begin(), now.end(), descriptors.begin(),
                      [](auto after, auto before) { return after <= before; });
  });
  INFO("router, prefill, decode: " << now[0] << ' ' << now[1] << ' ' << now[2] << " descriptors, before: "
                                   << descriptors[0] << ' ' << descriptors[1] << ' ' << descriptors[2]);
  CHECK(back);
}

namespace {

std::string PostOf(const std::string& body) {
  return fmt::format(
      "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\n\r\n{}",
      body.size(), body);
}

}  // namespace

TEST_CASE("row 14: a client that hangs up in the queue, in prefill, in the transfer or in decode frees all") {
  const RandomModel model;
  // No lease ends while this test waits: what is freed is freed by the cancel.
  const WorkerSettings worker{.compute = "bf16",
                              .prefill_chunk = 64,
                              .kv_memory = "64MiB",
                              .transfer_more = "lease: 10min, deadline: 1h"};
  Cluster cluster({.model = model.Path(), .prefill = worker, .decode = worker});
  const auto router = [&](const char* name) { return cluster.Router().Metrics().Sum(name); };
  const double gone =
      cluster.Router().Metrics().Sum("baton_request_errors_total", {{"reason", "client_closed"}});
  const std::string body = LongStream(1, 2500, 3000).body;

  SECTION("in the queue") {
    // Prompts are computed one after the other: the later ones wait.
    std::vector<std::unique_ptr<MuteClient>> clients;
    REQUIRE(WaitUntil(std::chrono::seconds(60), [&] {
      clients.push_back(std::make_unique<MuteClient>(cluster.Router().HttpAddress(),
                                                     PostOf(LongStream(clients.size(), 2500, 100).body)));
      return router("baton_requests_queued") > 4 || clients.size() > 60;
    }));
    clients.clear();
  }
  SECTION("in prefill") {
    MuteClient client(cluster.Router().HttpAddress(), PostOf(body));
    REQUIRE(WaitUntil(std::chrono::seconds(60),
                      [&] { return cluster.Prefill().Metrics().Sum("baton_queued_prompt_tokens") > 0; }));
    client.HangUp();
  }
  SECTION("in the transfer") {
    MuteClient client(cluster.Router().HttpAddress(), PostOf(body));
    REQUIRE(WaitUntil(std::chrono::seconds(60),
                      [&] { return cluster.Decode().Metrics().Sum("baton_kv_grants") > 0; }));
    client.HangUp();
  }
  SECTION("in decode") {
    perf::AskOptions request = LongStream(1, 100, 3000);
    request.on_text = [pieces = 0](std::string_view) mutable { return ++pieces < 10; };
    CHECK(cluster.Ask(request).hung_up);
  }

  REQUIRE(WaitUntil(std::chrono::seconds(10), [&] {
    return cluster.Router().Metrics().Sum("baton_request_errors_total", {{"reason", "client_closed"}}) > gone;
  }));
  cluster.RequireIdle();
}

}  // namespace baton::test
