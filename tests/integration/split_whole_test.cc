#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/integration/cluster.h"
#include "tests/integration/random_model.h"
#include "tests/integration/reference_engine.h"
#include "tests/integration/traffic.h"

namespace baton::test {
namespace {

struct Comparison {
  kernels::ComputeClass compute = kernels::ComputeClass::kF32;
  std::size_t requests = 0;
  std::int64_t prompt_tokens_max = 1000;
  std::int64_t answer_tokens_max = 32;
  std::uint64_t seed = 0;
};

/// Lengths 1 to `prompt_tokens_max`, both ends and the edges of blocks, tiles and chunks among them.
std::vector<EngineRequest> RandomRequests(const Comparison& comparison, std::int32_t vocabulary) {
  std::vector<std::int64_t> lengths = {1,  2,  15, 16,  17,  63,  64,
                                       65, 96, 97, 255, 256, 257, comparison.prompt_tokens_max};
  RandomStream random(comparison.seed);
  while (lengths.size() < comparison.requests)
    lengths.push_back(random.Between(1, comparison.prompt_tokens_max));
  std::vector<EngineRequest> requests;
  for (const std::int64_t length : lengths) {
    requests.push_back(
        RandomRequest(random, length, random.Between(1, comparison.answer_tokens_max), vocabulary));
  }
  return requests;
}

/// Sends the requests to the cluster, many at once, and compares every answer with the engine's own.
void RequireSplitIsWhole(Cluster& cluster, const std::string& model, const Comparison& comparison) {
  auto engine = ReferenceEngine::Create(model, comparison.compute, 256);
  REQUIRE(engine.ok());
  const std::vector<EngineRequest> requests = RandomRequests(comparison, (*engine)->Vocabulary());
  std::vector<perf::AskOptions> asked;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const bool stream = i % 2 == 0;
    asked.push_back({.server = {}, .body = CompletionBody(requests[i], stream), .stream = stream});
  }

  const std::vector<perf::Answer> answers = AskAll(cluster, asked, 24);

  for (std::size_t i = 0; i < requests.size(); ++i) {
    const EngineAnswer expected = (*engine)->Run(requests[i]);
    INFO("request " << i << " of seed " << comparison.seed << ", prompt of " << requests[i].prompt.size()
                    << " tokens, temperature " << requests[i].sampling.temperature << ": "
                    << answers[i].Describe());
    REQUIRE(answers[i].Complete());
    CHECK(answers[i].text == expected.text);
    CHECK(answers[i].finish_reason == expected.finish_reason);
    REQUIRE(answers[i].usage.has_value());
    CHECK(answers[i].usage->completion_tokens == static_cast<std::int64_t>(expected.tokens.size()));
  }
  cluster.RequireIdle();
}

}  // namespace

TEST_CASE("in class f32, 60 requests through three processes get the text that one engine gives") {
  const RandomModel model;
  Cluster cluster({.model = model.Path(),
                   .prefill = {.compute = "f32", .prefill_chunk = 96},
                   .decode = {.compute = "f32"}});

  RequireSplitIsWhole(cluster, model.Path(),
                      {.compute = kernels::ComputeClass::kF32, .requests = 60, .seed = 101});
}

TEST_CASE("in class bf16, 140 requests through three processes get the text that one engine gives") {
  const RandomModel model;
  Cluster cluster({.model = model.Path(),
                   .prefill = {.compute = "bf16", .batch_tokens = 300, .prefill_chunk = 70},
                   .decode = {.compute = "bf16"}});

  RequireSplitIsWhole(
      cluster, model.Path(),
      {.compute = kernels::ComputeClass::kBF16, .requests = 140, .answer_tokens_max = 160, .seed = 102});

  // Equality would be cheap if decode ran one sequence at a time: it did not.
  const perf::MetricsText metrics = cluster.Decode().Metrics();
  const double steps = metrics.Sum("baton_decode_batch_size_count");
  REQUIRE(steps > 0);
  CHECK(metrics.Sum("baton_decode_batch_size_sum") / steps > 1.5);
}

TEST_CASE(
    "row 29: with memory for a few answers only, those that make room get the same text, by either way") {
  const RandomModel model;
  for (const std::string kind : {"swap", "recompute"}) {
    CAPTURE(kind);
    // 36 blocks; the longest request needs 25, and 24 are asked at once.
    Cluster cluster({.model = model.Path(),
                     .decode = {.compute = "f32", .kv_memory = "1152KiB", .kv_more = "preemption: " + kind}});

    RequireSplitIsWhole(cluster, model.Path(),
                        {.compute = kernels::ComputeClass::kF32,
                         .requests = 48,
                         .prompt_tokens_max = 120,
                         .answer_tokens_max = 128,
                         .seed = 104});

    const perf::MetricsText metrics = cluster.Decode().Metrics();
    CHECK(metrics.Sum("baton_preemptions_total", {{"kind", kind}}) > 0);
    CHECK(metrics.Sum("baton_preemptions_total") == metrics.Sum("baton_preemptions_total", {{"kind", kind}}));
    CHECK((metrics.Sum("baton_kv_swapped_bytes_total", {{"direction", "out"}}) > 0) == (kind == "swap"));
    CHECK(metrics.Sum("baton_preempted_sequences") == 0);
  }
}

TEST_CASE("a request that no worker's memory could ever hold is refused before the answer begins") {
  const RandomModel model;
  Cluster cluster({.model = model.Path(), .decode = {.compute = "f32", .kv_memory = "1152KiB"}});
  RandomStream random(1);

  const perf::Answer answer = cluster.Ask(
      {.server = {}, .body = CompletionBody(RandomRequest(random, 400, 200, 2048), true), .stream = true});

  INFO(answer.Describe());
  CHECK(answer.status >= 400);
  CHECK(answer.status < 500);
  cluster.RequireIdle();
}

TEST_CASE("in two network namespaces the text is the same too") {
  auto network = NetworkPair::Create();
  if (!network.ok()) {
    WARN("SKIPPED: no network namespaces here: " << network.status());
    return;
  }
  const RandomModel model;
  Cluster cluster({.model = model.Path(),
                   .prefill = {.compute = "bf16", .prefill_chunk = 128},
                   .decode = {.compute = "bf16"},
                   .network = network->get()});

  RequireSplitIsWhole(cluster, model.Path(),
                      {.compute = kernels::ComputeClass::kBF16, .requests = 40, .seed = 103});
}

}  // namespace baton::test
