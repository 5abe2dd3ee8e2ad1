#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "common/net/http_client.h"
#include "tests/integration/cluster.h"
#include "tests/integration/raw_client.h"
#include "tests/integration/traffic.h"
#include "tests/support/shared_data.h"

namespace baton::test {
namespace {

struct BadRequest {
  const char* path;
  std::string body;
  int status;
  const char* code;
};

std::vector<BadRequest> BadRequests() {
  const char* plain = "/v1/completions";
  const char* chat = "/v1/chat/completions";
  std::string long_prompt = "[1";
  for (int i = 0; i < 600; ++i) long_prompt += ",1";
  return {
      {plain, "", 400, "invalid_json"},
      {plain, "{\"prompt\": ", 400, "invalid_json"},
      {plain, R"({"prompt": "a", "prompt": "b"})", 400, "invalid_json"},
      {plain, "{\"prompt\": \"\xff\"}", 400, "invalid_utf8"},
      {plain, "{}", 400, "missing_required_parameter"},
      {plain, R"({"prompt": "a", "temperature": 9})", 400, "invalid_value"},
      {plain, R"({"prompt": "a", "max_tokens": 0})", 400, "invalid_value"},
      {plain, R"({"prompt": [-1]})", 400, "invalid_value"},
      {plain, R"({"prompt": [99999999]})", 400, "invalid_value"},
      {plain, R"({"prompt": "a", "suffix": "b"})", 400, "unsupported_parameter"},
      {plain, R"({"prompt": "a", "model": "somebody-else"})", 404, "model_not_found"},
      {plain, "{\"prompt\": " + long_prompt + "]}", 400, "context_length_exceeded"},
      {chat, R"({"messages": []})", 400, "invalid_value"},
      {chat, R"({"messages": [{"role": "queen", "content": "a"}]})", 400, "invalid_value"},
      {"/v1/nothing", "{}", 404, "route_not_found"},
  };
}

std::string Noise(std::uint64_t seed, std::size_t bytes) {
  RandomStream random(seed);
  std::string noise;
  while (noise.size() < bytes) noise += static_cast<char>(random.Bits() & 0xff);
  return noise;
}

void RequireServes(const Cluster& cluster) {
  const perf::Answer answer = cluster.Ask(LongStream(1, 20, 4));
  INFO(answer.Describe());
  REQUIRE(answer.Complete());
}

}  // namespace

TEST_CASE("a malformed request gets an error that names what is wrong, and the router serves the next") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});

  for (const BadRequest& bad : BadRequests()) {
    const auto response =
        net::HttpClient::Request(cluster.Router().HttpAddress(), "POST", bad.path,
                                 {{"Content-Type", "application/json"}}, bad.body, std::chrono::seconds(10));
    INFO(bad.path << ' ' << bad.body.substr(0, 80));
    REQUIRE(response.ok());
    INFO(response->body);
    CHECK(response->status == bad.status);
    const auto error = json::Parse(response->body);
    REQUIRE(error.ok());
    REQUIRE(error->Find("error") != nullptr);
    CHECK(*error->Find("error")->Find("code")->AsString() == bad.code);
    CHECK(!error->Find("error")->Find("message")->AsString()->empty());
  }
  const auto wrong_method = net::HttpClient::Request(cluster.Router().HttpAddress(), "GET", "/v1/completions",
                                                     {}, "", std::chrono::seconds(10));
  REQUIRE(wrong_method.ok());
  CHECK(wrong_method->status == 405);
  RequireServes(cluster);
  cluster.RequireIdle();
}

TEST_CASE("row 27: noise on any port of any daemon is refused, and the cluster serves on") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});
  const std::vector<net::Address> ports = {
      {"127.0.0.1", cluster.Router().Port("http")},  {"127.0.0.1", cluster.Router().Port("control")},
      {"127.0.0.1", cluster.Prefill().Port("peer")}, {"127.0.0.1", cluster.Prefill().Port("metrics")},
      {"127.0.0.1", cluster.Decode().Port("peer")},  {"127.0.0.1", cluster.Decode().Port("metrics")},
  };
  // A hello of the right protocol with a proof of nothing, too: it must not pass for a worker.
  const std::string hello = "BATON\x01" + std::string(32, 'n') + std::string(32, 'p') + Noise(9, 200);

  for (const net::Address& port : ports) {
    for (const std::string& bytes :
         {Noise(1, 5), Noise(2, 70'000), hello, std::string("\xff\xff\xff\x7f", 4)}) {
      static_cast<void>(SendRaw(port, bytes, std::chrono::milliseconds(50)));
    }
  }

  for (Daemon* daemon : cluster.Daemons()) {
    INFO(daemon->About().name);
    CHECK(daemon->Running().Running());
    CHECK(daemon->Get("/health").status == 200);
    CHECK(daemon->Get("/ready").status == 200);
  }
  RequireServes(cluster);
  cluster.RequireIdle();
}

}  // namespace baton::test
