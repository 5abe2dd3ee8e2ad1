#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "tests/integration/cluster.h"
#include "tests/integration/reference_engine.h"
#include "tests/support/shared_data.h"

namespace baton::test {
namespace {

/// A completion over `prompt`; "" = without a salt.
perf::AskOptions Completion(const std::vector<TokenId>& prompt, const std::string& salt) {
  json::Array ids;
  for (const TokenId id : prompt) ids.emplace_back(std::int64_t{id});
  json::Object body{
      {"model", kModelName}, {"prompt", std::move(ids)}, {"max_tokens", 24}, {"temperature", 0.7},
      {"seed", 5},           {"ignore_eos", true},       {"top_p", 1.0},     {"top_k", 0}};
  if (!salt.empty()) body.emplace_back("cache_salt", salt);
  return {.server = {}, .path = "/v1/completions", .body = json::Serialize(body), .stream = false};
}

std::vector<TokenId> RandomPrompt(std::int64_t tokens) {
  RandomStream random(31);
  std::vector<TokenId> prompt;
  for (std::int64_t i = 0; i < tokens; ++i) prompt.push_back(static_cast<TokenId>(random.Between(0, 255)));
  return prompt;
}

}  // namespace

TEST_CASE("a prompt that comes again is not computed again, and its answer is the same") {
  const std::string model = ProjectFile("deploy/demo-model");
  auto engine = ReferenceEngine::Create(model, kernels::ComputeClass::kF32, 512);
  REQUIRE(engine.ok());
  Cluster cluster({.model = model});
  const std::vector<TokenId> prompt = RandomPrompt(300);
  const EngineAnswer expected = (*engine)->Run(
      {.prompt = prompt, .sampling = {.temperature = 0.7, .seed = 5}, .max_tokens = 24, .ignore_eos = true});
  struct Step {
    const char* salt;
    std::int64_t cached;
  };

  for (const Step& step :
       {Step{"", 0}, Step{"", 288}, Step{"tenant", 0}, Step{"tenant", 288}, Step{"", 288}}) {
    CAPTURE(step.salt, step.cached);
    const perf::Answer answer = cluster.Ask(Completion(prompt, step.salt));
    INFO(answer.Describe());
    REQUIRE(answer.Complete());
    CHECK(answer.text == expected.text);
    REQUIRE(answer.usage.has_value());
    CHECK(answer.usage->cached_tokens == step.cached);
  }

  cluster.RequireIdle();
  const perf::MetricsText metrics = cluster.Prefill().Metrics();
  CHECK(metrics.Sum("baton_prefix_cache_lookups_total", {{"result", "hit"}}) == 3);
  CHECK(metrics.Sum("baton_prefix_cache_lookups_total", {{"result", "miss"}}) == 2);
  CHECK(metrics.Sum("baton_prefix_cache_tokens_reused_total") == 3 * 288);
  CHECK(metrics.Sum("baton_kv_blocks", {{"state", "cached"}}) == 2 * 18);
  CHECK(cluster.Router().Metrics().Sum("baton_cached_prompt_tokens_total") == 3 * 288);
}

TEST_CASE("of two prefill workers the one that knows the prompt gets it again") {
  Cluster cluster({.model = ProjectFile("deploy/demo-model"), .prefills = 2});
  const std::vector<TokenId> prompt = RandomPrompt(300);

  for (int i = 0; i < 6; ++i) {
    const perf::Answer answer = cluster.Ask(Completion(prompt, ""));
    REQUIRE(answer.Complete());
    CHECK(answer.usage->cached_tokens == (i == 0 ? 0 : 288));
  }
}

}  // namespace baton::test
