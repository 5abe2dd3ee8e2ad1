#include <catch2/catch.hpp>

#include "common/text/chat_template.h"
#include "tests/integration/cluster.h"
#include "tests/integration/reference_engine.h"
#include "tests/integration/traffic.h"
#include "tests/support/shared_data.h"

namespace baton::test {
namespace {

constexpr const char* kPrompt = "In the beginning God created";
constexpr const char* kQuestion = "Who made the sea?";

std::string PlainBody(bool stream) {
  json::Object body{
      {"model", kModelName}, {"prompt", kPrompt}, {"max_tokens", 24}, {"temperature", 0}, {"stream", stream}};
  if (stream) body.emplace_back("stream_options", json::Object{{"include_usage", true}});
  return json::Serialize(body);
}

std::string ChatBody(bool stream) {
  json::Object body{{"model", kModelName},
                    {"messages", json::Array{json::Object{{"role", "user"}, {"content", kQuestion}}}},
                    {"max_tokens", 40},
                    {"temperature", 0.8},
                    {"top_p", 1.0},
                    {"top_k", 0},
                    {"seed", 11},
                    {"stream", stream}};
  if (stream) body.emplace_back("stream_options", json::Object{{"include_usage", true}});
  return json::Serialize(body);
}

EngineRequest ChatRequest(const ReferenceEngine& engine, const std::string& model) {
  const auto chat_template = text::ChatTemplate::Load(model);
  REQUIRE(chat_template.ok());
  const auto rendered =
      (*chat_template)->Render({.messages = {json::Object{{"role", "user"}, {"content", kQuestion}}}});
  REQUIRE(rendered.ok());
  return {.prompt = engine.Encode(*rendered, /*chat=*/true),
          .sampling = {.temperature = 0.8, .seed = 11},
          .max_tokens = 40};
}

/// Whole and streamed answers to one request are the engine's.
void RequireSame(const Cluster& cluster, const std::string& path, const std::string& whole_body,
                 const std::string& stream_body, const EngineRequest& request, const EngineAnswer& expected) {
  for (const bool stream : {false, true}) {
    const perf::Answer answer = cluster.Ask(
        {.server = {}, .path = path, .body = stream ? stream_body : whole_body, .stream = stream});
    INFO(path << (stream ? " streamed: " : " whole: ") << answer.Describe());
    REQUIRE(answer.Complete());
    CHECK(answer.text == expected.text);
    CHECK(answer.finish_reason == expected.finish_reason);
    CHECK(answer.done == stream);
    REQUIRE(answer.usage.has_value());
    CHECK(answer.usage->prompt_tokens == static_cast<std::int64_t>(request.prompt.size()));
    CHECK(answer.usage->completion_tokens == static_cast<std::int64_t>(expected.tokens.size()));
  }
}

}  // namespace

TEST_CASE("three processes answer completions and chats as one engine does") {
  const std::string model = ProjectFile("deploy/demo-model");
  auto engine = ReferenceEngine::Create(model, kernels::ComputeClass::kF32, 512);
  REQUIRE(engine.ok());
  Cluster cluster({.model = model});

  const EngineRequest plain{.prompt = (*engine)->Encode(kPrompt, false), .sampling = {}, .max_tokens = 24};
  RequireSame(cluster, "/v1/completions", PlainBody(false), PlainBody(true), plain, (*engine)->Run(plain));
  const EngineRequest chat = ChatRequest(**engine, model);
  RequireSame(cluster, "/v1/chat/completions", ChatBody(false), ChatBody(true), chat, (*engine)->Run(chat));

  cluster.RequireIdle();
}

TEST_CASE("a cluster that is ready says so on every endpoint") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});

  for (const char* path : {"/health", "/ready", "/version", "/metrics", "/v1/models"}) {
    INFO(path);
    CHECK(cluster.Router().Get(path).status == 200);
  }
  for (Daemon* worker : {&cluster.Prefill(), &cluster.Decode()}) {
    INFO(worker->About().name);
    CHECK(worker->Get("/health").status == 200);
    CHECK(worker->Get("/ready").status == 200);
  }
  const auto models = json::Parse(cluster.Router().Get("/v1/models").body);
  REQUIRE(models.ok());
  REQUIRE(models->Find("data") != nullptr);
  CHECK(*models->Find("data")->AsArray()->front().Find("id")->AsString() == kModelName);
  CHECK(cluster.Router().Get(std::string("/v1/models/") + kModelName).status == 200);
  CHECK(cluster.Router().Get("/v1/models/nobody").status == 404);
}

TEST_CASE("the KV of each request travels once, and the router says how") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model")});

  const std::vector<perf::AskOptions> requests = {LongStream(1, 100, 8), LongStream(2, 200, 8)};
  for (const perf::Answer& answer : AskAll(cluster, requests, 2)) REQUIRE(answer.Complete());
  cluster.RequireIdle();

  const bool reported = WaitUntil(
      std::chrono::seconds(5), [&] { return cluster.Router().Metrics().Sum("baton_kv_handoff_total") == 2; });
  REQUIRE(reported);
  // f32: 4 layers, k and v, 2 heads of 64, whole blocks of 16 tokens or the tokens alone.
  const double bytes = cluster.Router().Metrics().Sum("baton_kv_handoff_bytes_total", {{"transport", "tcp"}});
  CHECK(bytes >= 300.0 * 4 * 2 * 2 * 64 * 4);
  CHECK(bytes <= 330.0 * 4 * 2 * 2 * 64 * 4);
  CHECK(cluster.Prefill().Metrics().Sum("baton_kvtransfer_bytes_total") >= bytes);
}

}  // namespace baton::test
