#include <csignal>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/text/chat_template.h"
#include "tests/integration/cluster.h"
#include "tests/integration/reference_engine.h"
#include "tests/integration/traffic.h"
#include "tests/support/shared_data.h"

/// KV of an answer goes back to prefill, and the next turn computes only what is new.
namespace baton::test {
namespace {

constexpr Duration kLimit = std::chrono::seconds(60);
constexpr const char* kQuestion = "Who made the sea, and who made the land that is beside the sea?";

ClusterSettings Settings(const std::string& compute, const std::string& router_more = "") {
  const WorkerSettings worker{.compute = compute, .kv_memory = "32MiB"};
  return {.model = ProjectFile("deploy/demo-model"),
          .prefill = worker,
          .decode = worker,
          .router_more = router_more};
}

std::unique_ptr<ReferenceEngine> Engine(kernels::ComputeClass compute) {
  auto engine = ReferenceEngine::Create(ProjectFile("deploy/demo-model"), compute, 512);
  REQUIRE(engine.ok());
  return *std::move(engine);
}

EngineRequest ChatRequest(const ReferenceEngine& engine, std::int64_t max_tokens, std::uint64_t seed = 11) {
  const auto chat_template = text::ChatTemplate::Load(ProjectFile("deploy/demo-model"));
  REQUIRE(chat_template.ok());
  const auto rendered =
      (*chat_template)->Render({.messages = {json::Object{{"role", "user"}, {"content", kQuestion}}}});
  REQUIRE(rendered.ok());
  return {.prompt = engine.Encode(*rendered, /*chat=*/true),
          .sampling = {.temperature = 0.8, .seed = seed},
          .max_tokens = max_tokens,
          .ignore_eos = true};
}

perf::AskOptions Chat(std::int64_t max_tokens, bool stream = false, std::uint64_t seed = 11) {
  return {.server = {},
          .path = "/v1/chat/completions",
          .body = json::Serialize(
              json::Object{{"model", kModelName},
                           {"messages", json::Array{json::Object{{"role", "user"}, {"content", kQuestion}}}},
                           {"max_tokens", max_tokens},
                           {"ignore_eos", true},
                           {"temperature", 0.8},
                           {"top_p", 1.0},
                           {"top_k", 0},
                           {"seed", static_cast<std::int64_t>(seed)},
                           {"stream", stream}}),
          .stream = stream};
}

/// What the first turn has left, and a few tokens more.
EngineRequest NextTurn(const EngineRequest& turn, const EngineAnswer& answer) {
  EngineRequest next = turn;
  next.prompt.insert(next.prompt.end(), answer.tokens.begin(), answer.tokens.end());
  for (TokenId token = 40; token < 60; ++token) next.prompt.push_back(token);
  next.sampling.seed = 12;
  next.max_tokens = 24;
  return next;
}

std::int64_t WholeBlocks(std::int64_t tokens, std::int64_t block_tokens = 16) {
  return tokens / block_tokens * block_tokens;
}

double GaveBack(Cluster& cluster, const char* outcome) {
  return cluster.Router().Metrics().Sum("baton_give_backs_total", {{"outcome", outcome}});
}

}  // namespace

TEST_CASE("the next turn computes what is new, and its answer is that of an undisturbed engine") {
  const bool exact = GENERATE(true, false);
  const std::string compute = exact ? "f32" : "bf16";
  CAPTURE(compute);
  const auto engine = Engine(exact ? kernels::ComputeClass::kF32 : kernels::ComputeClass::kBF16);
  const EngineRequest turn = ChatRequest(*engine, 100);
  const EngineAnswer expected = engine->Run(turn);
  const EngineRequest next = NextTurn(turn, expected);
  const EngineAnswer expected_next = engine->Run(next);
  // In the exact class, between workers of other ranks and with larger blocks.
  const std::int64_t block_tokens = exact ? 48 : 16;
  ClusterSettings settings = Settings(compute);
  settings.prefill.kv_more = settings.decode.kv_more = fmt::format("block_tokens: {}", block_tokens);
  settings.decode.ranks = exact ? 2 : 1;
  Cluster cluster(settings);

  const perf::Answer answer = cluster.Ask(Chat(100));
  INFO(answer.Describe());
  REQUIRE(answer.Complete());
  REQUIRE(answer.text == expected.text);
  REQUIRE(WaitUntil(kLimit, [&] { return GaveBack(cluster, "done") == 1; }));
  const perf::Answer second = cluster.Ask({.server = {}, .body = CompletionBody(next, false)});
  INFO(second.Describe());
  REQUIRE(second.Complete());

  CHECK(second.text == expected_next.text);
  // The answer's last token has no KV.
  const auto known = static_cast<std::int64_t>(turn.prompt.size() + expected.tokens.size()) - 1;
  REQUIRE(second.usage.has_value());
  CHECK(second.usage->cached_tokens == WholeBlocks(known, block_tokens));
  CHECK(second.usage->cached_tokens >
        WholeBlocks(static_cast<std::int64_t>(turn.prompt.size()), block_tokens) + 64);
  CHECK(cluster.Router().Metrics().Sum("baton_given_back_tokens_total") ==
        static_cast<double>(WholeBlocks(known, block_tokens) -
                            WholeBlocks(static_cast<std::int64_t>(turn.prompt.size()), block_tokens)));
  cluster.RequireIdle();
}

TEST_CASE("where it is switched off nothing goes back") {
  const auto engine = Engine(kernels::ComputeClass::kF32);
  const EngineRequest turn = ChatRequest(*engine, 100);
  const EngineRequest next = NextTurn(turn, engine->Run(turn));
  Cluster cluster(Settings("f32", "give_back: {enabled: false}\n"));

  REQUIRE(cluster.Ask(Chat(100)).Complete());
  cluster.RequireIdle();
  const perf::Answer second = cluster.Ask({.server = {}, .body = CompletionBody(next, false)});

  REQUIRE(second.Complete());
  CHECK(second.usage->cached_tokens == WholeBlocks(static_cast<std::int64_t>(turn.prompt.size())));
}

/// Either side is stopped before the answer ends, so that the transfer back stands in its middle, and killed.
TEST_CASE("a worker that is killed amid what goes back costs no answer, and nothing stays") {
  const auto engine = Engine(kernels::ComputeClass::kF32);
  const EngineRequest turn = ChatRequest(*engine, 300);
  const EngineAnswer expected = engine->Run(turn);
  const EngineRequest next = NextTurn(turn, expected);
  const EngineAnswer expected_next = engine->Run(next);
  Cluster cluster(Settings("f32"));
  const bool prefill = GENERATE(true, false);
  CAPTURE(prefill);
  Daemon& victim = prefill ? cluster.Prefill() : cluster.Decode();

  if (prefill) {
    // It takes nothing more, and what decode offers waits for it.
    Streams streams(cluster, {Chat(300, true)});
    REQUIRE(streams.Await(1, 20, kLimit));
    victim.Running().Signal(SIGSTOP);
    const std::vector<perf::Answer> answers = streams.Finish();
    REQUIRE(answers[0].Complete());
    CHECK(answers[0].text == expected.text);
  } else {
    const perf::Answer answer = cluster.Ask(Chat(300));
    victim.Running().Signal(SIGSTOP);  // somewhere in the few milliseconds of the transfer, or just behind
    REQUIRE(answer.Complete());
    CHECK(answer.text == expected.text);
  }
  victim.Running().Signal(SIGKILL);
  victim.Restart();
  victim.AwaitReady();
  cluster.AwaitReady();
  cluster.RequireIdle();

  const perf::Answer second = cluster.Ask({.server = {}, .body = CompletionBody(next, false)});
  INFO(second.Describe());
  REQUIRE(second.Complete());
  CHECK(second.text == expected_next.text);
  cluster.RequireIdle();
}

TEST_CASE("many chats end at once amid others: every answer is right, and nothing stays") {
  const auto engine = Engine(kernels::ComputeClass::kF32);
  constexpr std::uint64_t kChats = 24;
  Cluster cluster(Settings("f32"));
  std::vector<perf::AskOptions> requests;
  for (std::uint64_t seed = 1; seed <= kChats; ++seed) requests.push_back(Chat(60, false, seed));

  const std::vector<perf::Answer> answers = AskAll(cluster, requests, 8);
  for (std::uint64_t seed = 1; seed <= kChats; ++seed) {
    const perf::Answer& answer = answers[seed - 1];
    INFO(answer.Describe());
    REQUIRE(answer.Complete());
    CHECK(answer.text == engine->Run(ChatRequest(*engine, 60, seed)).text);
  }

  cluster.RequireIdle();
  CHECK(GaveBack(cluster, "done") >= 1);
}

}  // namespace baton::test
