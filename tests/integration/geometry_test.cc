#include <csignal>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "tests/integration/random_model.h"
#include "tests/integration/transcript.h"
#include "tests/support/shared_data.h"

/// Daemons whose KV lies differently: other ranks, other blocks, other types.
namespace baton::test {
namespace {

constexpr Duration kLimit = std::chrono::seconds(90);

struct Geometry {
  int ranks = 1;
  int block_tokens = 16;
  std::string dtype = "auto";
};

WorkerSettings SettingsOf(const Geometry& geometry) {
  return {.compute = "bf16",
          .prefill_chunk = 70,
          .kv_more = fmt::format("block_tokens: {}, dtype: {}", geometry.block_tokens, geometry.dtype),
          .ranks = geometry.ranks};
}

std::vector<EngineRequest> Requests(std::int32_t vocabulary) {
  RandomStream random(77);
  std::vector<EngineRequest> requests;
  for (const std::int64_t length : {1, 15, 16, 17, 31, 32, 33, 64, 100, 257, 500})
    requests.push_back(RandomRequest(random, length, random.Between(2, 40), vocabulary));
  return requests;
}

std::vector<perf::Answer> Ask(Cluster& cluster, const std::vector<EngineRequest>& requests) {
  std::vector<perf::AskOptions> asked;
  for (const EngineRequest& request : requests)
    asked.push_back({.server = {}, .body = CompletionBody(request, true), .stream = true});
  return AskAll(cluster, asked, 6);
}

void RequireTexts(const std::vector<perf::Answer>& answers, const std::vector<EngineRequest>& requests,
                  ReferenceEngine& engine) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i << ", prompt of " << requests[i].prompt.size() << ": " << answers[i].Describe());
    REQUIRE(answers[i].Complete());
    CHECK(answers[i].text == engine.Run(requests[i]).text);
  }
}

std::unique_ptr<ReferenceEngine> Engine(const std::string& model,
                                        std::optional<kernels::DType> kv = std::nullopt) {
  auto engine = ReferenceEngine::Create(model, kernels::ComputeClass::kBF16, 256, kv);
  REQUIRE(engine.ok());
  return *std::move(engine);
}

double Sum(Cluster& cluster, const char* name, const perf::Labels& labels = {}) {
  return cluster.Router().Metrics().Sum(name, labels);
}

void AwaitDecodes(Cluster& cluster, double count) {
  REQUIRE(WaitUntil(kLimit, [&] {
    return Sum(cluster, "baton_workers", {{"phase", "decode"}, {"state", "ready"}}) == count;
  }));
}

/// The demo model, with two decode workers that differ from prefill and from each other, recorded.
ClusterSettings Mixed(const std::string& recording) {
  ClusterSettings settings{.model = ProjectFile("deploy/demo-model"),
                           .prefill = SettingsOf({.ranks = 2, .block_tokens = 32}),
                           .decode = SettingsOf({.ranks = 1, .block_tokens = 48}),
                           .more_decodes = {SettingsOf({.ranks = 4, .block_tokens = 16})},
                           .router_more = fmt::format("record: {{file: {}, limit: 64MiB}}\n", recording)};
  return settings;
}

/// The router ends, and baton-sim reaches the same decisions from what it recorded.
void RequireReplayed(Cluster& cluster, const std::string& recording) {
  cluster.Router().Running().Signal(SIGTERM);
  REQUIRE(cluster.Router().Running().WaitExit(kLimit) == 0);
  const RunResult replayed = RunToEnd({Program("sim"), "replay", recording});
  INFO(replayed.output);
  CHECK(replayed.exit == 0);
  CHECK(replayed.output.find("every decision is the same") != std::string::npos);
  CHECK(ReadFile(recording).find("\"kv_ranks\":4") != std::string::npos);
}

}  // namespace

TEST_CASE("workers of other ranks give the text of one engine") {
  const auto [prefill, decode] = GENERATE(table<int, int>({{1, 2}, {2, 1}, {4, 2}, {1, 4}}));
  CAPTURE(prefill, decode);
  const RandomModel model;  // of 2 key-value heads: two of 4 ranks hold the same one
  const auto engine = Engine(model.Path());
  const std::vector<EngineRequest> requests = Requests(engine->Vocabulary());
  Cluster cluster({.model = model.Path(),
                   .prefill = SettingsOf({.ranks = prefill}),
                   .decode = SettingsOf({.ranks = decode})});

  RequireTexts(Ask(cluster, requests), requests, *engine);

  cluster.RequireIdle();
}

TEST_CASE("workers of other block sizes and ranks give the text of one engine") {
  const auto [prefill, decode] = GENERATE(table<Geometry, Geometry>({
      {{.block_tokens = 16}, {.block_tokens = 32}},
      {{.block_tokens = 32}, {.block_tokens = 16}},
      {{.ranks = 4, .block_tokens = 16}, {.ranks = 1, .block_tokens = 48}},
      {{.ranks = 2, .block_tokens = 128}, {.ranks = 2, .block_tokens = 128}},
  }));
  CAPTURE(prefill.ranks, prefill.block_tokens, decode.ranks, decode.block_tokens);
  const RandomModel model;
  const auto engine = Engine(model.Path());
  const std::vector<EngineRequest> requests = Requests(engine->Vocabulary());
  Cluster cluster({.model = model.Path(), .prefill = SettingsOf(prefill), .decode = SettingsOf(decode)});

  RequireTexts(Ask(cluster, requests), requests, *engine);

  cluster.RequireIdle();
}

TEST_CASE("a prefix cache of blocks of 48 gives the blocks of 48 that are full") {
  const RandomModel model;
  const auto engine = Engine(model.Path());
  RandomStream random(3);
  EngineRequest request = RandomRequest(random, 300, 24, engine->Vocabulary());
  Cluster cluster({.model = model.Path(),
                   .prefill = SettingsOf({.ranks = 2, .block_tokens = 48}),
                   .decode = SettingsOf({})});

  for (const std::int64_t cached : {0, 288, 288}) {
    const perf::Answer answer = Ask(cluster, {request}).front();
    INFO(answer.Describe());
    REQUIRE(answer.Complete());
    CHECK(answer.text == engine->Run(request).text);
    CHECK(answer.usage->cached_tokens == cached);
  }
  request.prompt.resize(80);  // one block of 48, where 16 would give four
  CHECK(Ask(cluster, {request}).front().usage->cached_tokens == 48);
  cluster.RequireIdle();
}

TEST_CASE("answers that make room in memory of two ranks and blocks of 32 go on with the same text") {
  const std::string kind = GENERATE("swap", "recompute");
  CAPTURE(kind);
  const RandomModel model;
  const auto engine = Engine(model.Path());
  RandomStream random(9);
  std::vector<EngineRequest> requests;
  for (int i = 0; i < 12; ++i)
    requests.push_back(RandomRequest(random, 20 + 9 * i, 128, engine->Vocabulary()));
  WorkerSettings decode = SettingsOf({.ranks = 2, .block_tokens = 32});
  decode.kv_memory = "576KiB";  // 18 blocks; the longest request needs 8, and 6 are asked at once
  decode.kv_more += ", preemption: " + kind;
  Cluster cluster({.model = model.Path(), .prefill = SettingsOf({}), .decode = decode});

  RequireTexts(Ask(cluster, requests), requests, *engine);

  CHECK(cluster.Decode().Metrics().Sum("baton_preemptions_total", {{"kind", kind}}) > 0);
  cluster.RequireIdle();
}

TEST_CASE("a KV type of its own is a numerics class of its own, whatever ranks and blocks are") {
  const RandomModel model;
  const auto engine = Engine(model.Path(), kernels::DType::kF32);
  const std::vector<EngineRequest> requests = Requests(engine->Vocabulary());
  // The second decode worker is of the class that the compute class has, and no pair.
  Cluster cluster({.model = model.Path(),
                   .prefill = SettingsOf({.ranks = 2, .dtype = "f32"}),
                   .decode = SettingsOf({.block_tokens = 32, .dtype = "f32"}),
                   .more_decodes = {SettingsOf({})}});
  AwaitDecodes(cluster, 2);

  RequireTexts(Ask(cluster, requests), requests, *engine);

  CHECK(cluster.Decode(1).Metrics().Sum("baton_decode_batch_size_count") == 0);
  cluster.RequireIdle();
}

TEST_CASE("a decode worker that takes other classes goes on from converted KV") {
  const auto [from, to] = GENERATE(table<std::string, std::string>({{"f32", "bf16"}, {"bf16", "f32"}}));
  CAPTURE(from, to);
  const RandomModel model;
  const auto engine = Engine(model.Path(), from == "f32" ? kernels::DType::kF32 : kernels::DType::kBF16);
  const std::vector<EngineRequest> requests = Requests(engine->Vocabulary());
  WorkerSettings decode = SettingsOf({.ranks = 2, .block_tokens = 32, .dtype = to});
  decode.transfer_more = "other_classes: true";
  Cluster cluster({.model = model.Path(), .prefill = SettingsOf({.dtype = from}), .decode = decode});

  const std::vector<perf::Answer> answers = Ask(cluster, requests);
  const std::vector<perf::Answer> again = Ask(cluster, requests);

  // The first token is that of prefill's class; the others are no class's, and yet the same each time.
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i << ": " << answers[i].Describe());
    REQUIRE(answers[i].Complete());
    CHECK(again[i].text == answers[i].text);
    CHECK(answers[i].usage->prompt_tokens == static_cast<std::int64_t>(requests[i].prompt.size()));
    EngineRequest first = requests[i];
    first.max_tokens = 1;
    std::string begin = engine->Run(first).text;
    while (begin.ends_with("\uFFFD")) begin.resize(begin.size() - 3);  // half a character
    CHECK(answers[i].text.starts_with(begin));
  }
  cluster.RequireIdle();
}

TEST_CASE(
    "kill -9 of a decode worker: one of other ranks and blocks goes on, with an undisturbed run's text") {
  const std::size_t victim = GENERATE(0U, 1U);
  CAPTURE(victim);
  const TemporaryFolder folder;
  Cluster cluster(Mixed(folder.Path() + "/live.rec"));
  AwaitDecodes(cluster, 2);
  const std::vector<perf::AskOptions> requests = EveryKind(20, 300);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(requests.size(), 5, kLimit));
  cluster.Decode(victim).Running().Signal(SIGKILL);

  RequireSame(streams.Finish(), expected);
  CHECK(Sum(cluster, "baton_resumed_requests_total") > 0);
  CHECK(Sum(cluster, "baton_request_errors_total") == 0);
  cluster.Decode(victim).Restart();
  cluster.Decode(victim).AwaitReady();
  cluster.RequireIdle();
  RequireReplayed(cluster, folder.Path() + "/live.rec");
}

TEST_CASE("answers move from a decode worker to one of other ranks and blocks amid their streams") {
  const std::size_t leaves = GENERATE(0U, 1U);
  CAPTURE(leaves);
  const TemporaryFolder folder;
  Cluster cluster(Mixed(folder.Path() + "/live.rec"));
  AwaitDecodes(cluster, 2);
  const std::vector<perf::AskOptions> requests = EveryKind(24, 300);
  const std::vector<Transcript> expected = Undisturbed(cluster, requests);

  RecordedStreams streams(cluster, requests);
  REQUIRE(streams.Await(requests.size(), 1, kLimit));
  cluster.Decode(leaves).Running().Signal(SIGTERM);
  CHECK(cluster.Decode(leaves).Running().WaitExit(kLimit) == 0);

  RequireSame(streams.Finish(), expected);
  CHECK(Sum(cluster, "baton_migrations_total", {{"outcome", "moved"}}) > 3);
  CHECK(Sum(cluster, "baton_request_errors_total") == 0);
  cluster.Decode(leaves).Restart();
  cluster.Decode(leaves).AwaitReady();
  cluster.RequireIdle();
  RequireReplayed(cluster, folder.Path() + "/live.rec");
}

}  // namespace baton::test
