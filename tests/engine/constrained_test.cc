#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "common/grammar/schema.h"
#include "common/json/value.h"
#include "engine/executor.h"
#include "tests/support/event_recorder.h"
#include "tests/support/fake_model.h"
#include "tests/support/json_schema.h"

namespace baton::engine {
namespace {

constexpr TokenId kEnd = 96;
constexpr std::string_view kSchema =
    R"({"type":"object","properties":{"n":{"type":"integer","minimum":-5,"maximum":300},"s":{"type":)"
    R"("string","maxLength":6},"l":{"type":"array","items":{"enum":["a","bc",null]},"maxItems":3}},)"
    R"("required":["n","s"],"additionalProperties":false})";

/// Token i is the byte 0x20 + i; 95 and 96 have none, and 96 ends answers.
std::shared_ptr<const TokenTable> AsciiTable() {
  static const std::string bytes = [] {
    std::string out;
    for (char byte = 0x20; byte < 0x7f; ++byte) out += byte;
    return out;
  }();
  std::vector<std::string_view> tokens;
  for (std::size_t i = 0; i < 97; ++i)
    tokens.push_back(i < bytes.size() ? std::string_view(bytes).substr(i, 1) : "");
  return TokenTable::FromBytes(tokens).value();
}

struct Rig {
  Rig()
      : backend(*kernels::CreateCpuBackend({.compute = kernels::ComputeClass::kF32, .threads = 1})),
        arena(*KvArena::Create(*backend, model.Geometry(512))),
        pool(512),
        executor(model, arena, {}, events, AsciiTable()) {}

  SequenceSpec Spec(std::uint64_t id) {
    SequenceSpec spec{.key = {RequestId(id), Attempt(1)}, .tokens = {1, 2, static_cast<TokenId>(id)}};
    spec.sampling = {.temperature = 1, .seed = id};
    spec.stop = {.max_tokens = 200, .stop_ids = {kEnd}};
    spec.grammar = grammar::FromSchema(kSchema).value();
    spec.blocks = *pool.Allocate(BlocksFor(std::ssize(spec.tokens) + 200, kBlockTokens));
    return spec;
  }

  test::FakeModel model;
  std::unique_ptr<kernels::Backend> backend;
  KvArena arena;
  BlockPool pool;
  test::EventRecorder events;
  Executor executor;
};

std::string TextOf(const std::vector<TokenId>& tokens) {
  std::string text;
  for (const TokenId token : tokens) {
    if (token != kEnd) text += static_cast<char>(0x20 + token);
  }
  return text;
}

TEST_CASE("answers with a grammar validate against its schema, and stop where the value ends") {
  Rig rig;
  for (std::uint64_t id = 1; id <= 20; ++id) rig.executor.Submit(rig.Spec(id));
  rig.events.WaitForReleases(20);

  const json::Value schema = json::Parse(kSchema).value();
  for (std::uint64_t id = 1; id <= 20; ++id) {
    const auto seen = rig.events.Of({RequestId(id), Attempt(1)});
    const std::string text = TextOf(seen.tokens);
    INFO(text);
    CHECK(seen.finish == FinishReason::kStop);
    CHECK(seen.tokens.back() == kEnd);
    const auto value = json::Parse(text);
    REQUIRE(value.ok());
    CHECK(test::Validates(*value, schema, schema));
  }
}

TEST_CASE("a worker that takes over an answer with a grammar goes on as one worker would") {
  Rig rig;
  const SequenceSpec whole = rig.Spec(1);
  rig.executor.Submit(whole);
  rig.events.WaitForReleases(1);
  const std::vector<TokenId> answer = rig.events.Of(whole.key).tokens;

  SequenceSpec taken = rig.Spec(1);
  taken.key = {RequestId(1), Attempt(2)};
  taken.phase = Phase::kDecode;
  taken.blocks = whole.blocks;  // with the prompt's KV
  taken.tokens.push_back(answer.front());
  rig.events.ExpectFirstIndex(taken.key, 1);
  rig.executor.Submit(taken);
  rig.events.WaitForReleases(2);

  CHECK(rig.events.Of(taken.key).tokens == std::vector<TokenId>(answer.begin() + 1, answer.end()));
}

TEST_CASE("an answer with a grammar that is resumed after any of its tokens is the same") {
  Rig rig;
  SequenceSpec whole = rig.Spec(1);
  rig.executor.Submit(whole);
  rig.events.WaitForReleases(1);
  const std::vector<TokenId> answer = rig.events.Of(whole.key).tokens;
  REQUIRE(answer.size() > 8);

  for (std::size_t made = 1; made < answer.size(); ++made) {
    CAPTURE(made);
    SequenceSpec resumed = whole;
    resumed.key = {RequestId(1), Attempt(static_cast<std::uint32_t>(made + 1))};
    resumed.resumed = static_cast<std::int64_t>(made);
    resumed.tokens.insert(resumed.tokens.end(), answer.begin(), answer.begin() + resumed.resumed);
    rig.events.ExpectFirstIndex(resumed.key, resumed.resumed);
    rig.executor.Submit(resumed);
    rig.events.WaitForReleases(static_cast<int>(made) + 1);

    const auto seen = rig.events.Of(resumed.key);
    CHECK(seen.orderly);
    CHECK(seen.tokens == std::vector<TokenId>(answer.begin() + resumed.resumed, answer.end()));
    CHECK(seen.finish == FinishReason::kStop);
  }
}

TEST_CASE("a first token that is not the grammar's ends the answer") {
  Rig rig;
  SequenceSpec spec = rig.Spec(1);
  spec.phase = Phase::kDecode;
  spec.tokens.push_back('x' - 0x20);
  rig.events.ExpectFirstIndex(spec.key, 1);

  rig.executor.Submit(spec);
  rig.events.WaitForReleases(1);

  CHECK(rig.events.Of(spec.key).tokens == std::vector<TokenId>{kEnd});
}

}  // namespace
}  // namespace baton::engine
