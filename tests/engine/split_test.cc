#include <algorithm>
#include <cstring>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "engine/executor.h"
#include "engine/kv/prefix_cache.h"
#include "tests/support/event_recorder.h"
#include "tests/support/make_checkpoint.h"
#include "tests/support/temporary_folder.h"

/// Prefill on one engine, KV bytes copied to other blocks of another engine, decode there: the same bits as
/// whole.
namespace baton::engine {
namespace {

using test::EventRecorder;

RequestKey Key(std::size_t id) {
  return {RequestId(id + 1), Attempt(1)};
}

/// An engine over a real model.
struct Engine {
  Engine(const std::string& directory, kernels::ComputeClass compute, std::int64_t blocks,
         const PlannerLimits& planner)
      : limits(planner),
        backend(kernels::CreateCpuBackend({.compute = compute}).value()),
        model(LoadModel(directory, *backend, planner.batch_tokens).value()),
        arena(KvArena::Create(*backend, {.layers = model->Config().layers,
                                         .blocks = blocks,
                                         .kv_heads = model->Config().kv_heads,
                                         .head_dim = model->Config().head_dim,
                                         .dtype = backend->KvType()})
                  .value()),
        pool(blocks),
        executor(std::make_unique<Executor>(*model, arena, limits, events)) {}

  PlannerLimits limits;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<Model> model;
  KvArena arena;
  BlockPool pool;
  EventRecorder events;
  int submitted = 0;  // by RunCached
  std::unique_ptr<Executor> executor;
};

PlannerLimits RandomLimits(RandomStream& random) {
  return {.batch_tokens = random.Between(8, 256),
          .batch_sequences = random.Between(1, 20),
          .prefill_chunk_tokens = random.Between(1, 200)};
}

std::vector<SequenceSpec> RandomRequests(std::size_t count, std::int64_t longest, RandomStream& random) {
  std::vector<SequenceSpec> requests;
  for (std::size_t id = 0; id < count; ++id) {
    SequenceSpec spec{.key = Key(id), .stop = {.max_tokens = random.Between(2, 24), .stop_ids = {2047}}};
    spec.tokens.resize(static_cast<std::size_t>(random.Between(1, longest)));
    for (TokenId& token : spec.tokens) token = static_cast<TokenId>(random.Between(0, 2046));
    if (id % 2 == 1) spec.sampling = {.temperature = 0.8, .top_p = 0.95, .top_k = 50, .seed = random.Bits()};
    if (id % 3 == 0) spec.sampling.repetition_penalty = 1.3;
    if (id % 4 == 0) spec.sampling.presence_penalty = spec.sampling.frequency_penalty = 0.7;
    requests.push_back(spec);
  }
  return requests;
}

/// Blocks in random order, so that neither runs nor indices agree between engines.
BlockTable Take(BlockPool& pool, std::int64_t tokens, RandomStream& random) {
  BlockTable blocks = pool.Allocate(BlocksFor(tokens, kBlockTokens)).value();
  for (std::size_t i = blocks.size(); i > 1; --i) {
    std::swap(blocks[i - 1],
              blocks[static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(i) - 1))]);
  }
  return blocks;
}

void CopyBlocks(const KvArena& from, const BlockTable& from_blocks, const KvArena& to,
                const BlockTable& to_blocks, std::int64_t tokens) {
  for (int layer = 0; layer < from.Geometry().layers; ++layer) {
    const std::size_t bytes = from.Geometry().BlockBytes();
    for (std::size_t i = 0; i < static_cast<std::size_t>(BlocksFor(tokens, kBlockTokens)); ++i) {
      std::memcpy(to.Layer(layer).base + to_blocks[i].value * bytes,
                  from.Layer(layer).base + from_blocks[i].value * bytes, bytes);
    }
  }
}

std::vector<std::vector<TokenId>> RunWhole(Engine& engine, const std::vector<SequenceSpec>& requests,
                                           RandomStream& random) {
  for (SequenceSpec spec : requests) {
    spec.blocks = Take(engine.pool, std::ssize(spec.tokens) + spec.stop.max_tokens - 1, random);
    engine.executor->Submit(std::move(spec));
  }
  engine.events.WaitForReleases(static_cast<int>(requests.size()));
  std::vector<std::vector<TokenId>> answers;
  for (const SequenceSpec& spec : requests) answers.push_back(engine.events.Of(spec.key).tokens);
  return answers;
}

std::vector<std::vector<TokenId>> RunSplit(Engine& prefill, Engine& decode,
                                           const std::vector<SequenceSpec>& requests, RandomStream& random) {
  std::vector<BlockTable> prefill_blocks;
  for (SequenceSpec spec : requests) {
    spec.phase = Phase::kPrefill;
    spec.blocks = Take(prefill.pool, std::ssize(spec.tokens), random);
    prefill_blocks.push_back(spec.blocks);
    prefill.executor->Submit(std::move(spec));
  }
  prefill.events.WaitForReleases(static_cast<int>(requests.size()));

  std::vector<std::vector<TokenId>> answers;
  int moved = 0;
  for (std::size_t id = 0; id < requests.size(); ++id) {
    const auto first = prefill.events.Of(requests[id].key);
    answers.push_back(first.tokens);
    if (first.released != FinishReason::kPrefilled) continue;
    SequenceSpec spec = requests[id];
    spec.phase = Phase::kDecode;
    spec.blocks =
        Take(decode.pool, std::ssize(spec.tokens) - spec.resumed + spec.stop.max_tokens - 1, random);
    CopyBlocks(prefill.arena, prefill_blocks[id], decode.arena, spec.blocks, std::ssize(spec.tokens));
    spec.tokens.push_back(first.tokens.front());
    decode.events.ExpectFirstIndex(spec.key, spec.resumed + 1);
    decode.executor->Submit(std::move(spec));
    ++moved;
  }
  decode.events.WaitForReleases(moved);
  for (std::size_t id = 0; id < requests.size(); ++id) {
    const auto rest = decode.events.Of(requests[id].key);
    CHECK(rest.orderly);
    answers[id].insert(answers[id].end(), rest.tokens.begin(), rest.tokens.end());
  }
  return answers;
}

TEST_CASE("split equals whole, to the token, for any chunks, batches and blocks") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(test::NamedShape("1m").value(), folder.Path()).ok());
  for (const auto compute : {kernels::ComputeClass::kF32, kernels::ComputeClass::kBF16}) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      CAPTURE(kernels::Name(compute), seed);
      RandomStream random(seed);
      const std::vector<SequenceSpec> requests = RandomRequests(20, 600, random);
      constexpr std::int64_t kBlocks = 2000;
      Engine whole(folder.Path(), compute, kBlocks, RandomLimits(random));
      Engine prefill(folder.Path(), compute, kBlocks, RandomLimits(random));
      Engine decode(folder.Path(), compute, kBlocks, RandomLimits(random));

      const auto expected = RunWhole(whole, requests, random);
      const auto split = RunSplit(prefill, decode, requests, random);

      std::size_t tokens = 0;
      for (std::size_t id = 0; id < requests.size(); ++id) {
        CAPTURE(id);
        CHECK(split[id] == expected[id]);
        tokens += expected[id].size();
      }
      CHECK(tokens > 60);
    }
  }
}

/// Each request again, as attempts that begin with the first `resumed` tokens of its answer: those that come
/// after them.
std::vector<std::vector<TokenId>> RunResumed(Engine& prefill, Engine& decode,
                                             std::vector<SequenceSpec> requests,
                                             const std::vector<std::vector<TokenId>>& answers,
                                             RandomStream& random) {
  for (std::size_t id = 0; id < requests.size(); ++id) {
    SequenceSpec& spec = requests[id];
    spec.resumed = random.Between(0, std::ssize(answers[id]) - 1);
    spec.tokens.insert(spec.tokens.end(), answers[id].begin(), answers[id].begin() + spec.resumed);
    prefill.events.ExpectFirstIndex(spec.key, spec.resumed);
  }
  std::vector<std::vector<TokenId>> rest = RunSplit(prefill, decode, requests, random);
  for (std::size_t id = 0; id < requests.size(); ++id) {
    rest[id].insert(rest[id].begin(), answers[id].begin(), answers[id].begin() + requests[id].resumed);
  }
  return rest;
}

TEST_CASE("an answer that goes on elsewhere after any of its tokens is the same, to the token") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(test::NamedShape("1m").value(), folder.Path()).ok());
  for (const auto compute : {kernels::ComputeClass::kF32, kernels::ComputeClass::kBF16}) {
    CAPTURE(kernels::Name(compute));
    RandomStream random(7);
    std::vector<SequenceSpec> requests = RandomRequests(20, 200, random);
    // Half of them would end early, were it not for what min_tokens holds back.
    for (std::size_t id = 0; id < requests.size(); id += 2) {
      requests[id].stop.min_tokens = requests[id].stop.max_tokens / 2;
      for (TokenId token = 0; token < 2048; token += 16) requests[id].stop.stop_ids.push_back(token);
    }
    constexpr std::int64_t kBlocks = 1000;
    Engine whole(folder.Path(), compute, kBlocks, RandomLimits(random));
    Engine prefill(folder.Path(), compute, kBlocks, RandomLimits(random));
    Engine decode(folder.Path(), compute, kBlocks, RandomLimits(random));

    const auto expected = RunWhole(whole, requests, random);
    const auto resumed = RunResumed(prefill, decode, requests, expected, random);

    for (std::size_t id = 0; id < requests.size(); ++id) {
      CAPTURE(id);
      CHECK(resumed[id] == expected[id]);
    }
  }
}

/// KV of positions [0, tokens), block by block and layer by layer.
std::vector<std::byte> KvBytes(const KvArena& arena, const BlockTable& blocks, std::int64_t tokens) {
  std::vector<std::byte> bytes;
  const std::size_t block_bytes = arena.Geometry().BlockBytes();
  for (int layer = 0; layer < arena.Geometry().layers; ++layer) {
    for (std::int64_t i = 0; i < tokens / kBlockTokens; ++i) {
      const std::byte* from =
          arena.Layer(layer).base + blocks[static_cast<std::size_t>(i)].value * block_bytes;
      bytes.insert(bytes.end(), from, from + block_bytes);
    }
  }
  return bytes;
}

/// The prompt through the cache of the engine: computed, kept, and the KV that it then has.
std::vector<std::byte> RunCached(Engine& engine, PrefixCache& cache, SequenceSpec spec,
                                 std::int64_t expected_cached) {
  const PromptBlocks prompt = cache.Allocate("", spec.tokens).value();
  CHECK(prompt.cached_tokens == expected_cached);
  spec.phase = Phase::kPrefill;
  spec.report_layers = true;
  spec.blocks = prompt.blocks;
  spec.computed_tokens = prompt.cached_tokens;
  const std::vector<TokenId> tokens = spec.tokens;
  engine.executor->Submit(std::move(spec));
  engine.events.WaitForReleases(++engine.submitted);
  cache.Insert("", tokens, prompt.blocks);
  std::vector<std::byte> bytes = KvBytes(engine.arena, prompt.blocks, std::ssize(tokens));
  engine.pool.Release(prompt.blocks);
  return bytes;
}

TEST_CASE("a prompt whose beginning is shared has the token and the KV of one computed alone, to the bit") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(test::NamedShape("1m").value(), folder.Path()).ok());
  for (const auto compute : {kernels::ComputeClass::kF32, kernels::ComputeClass::kBF16}) {
    CAPTURE(kernels::Name(compute));
    RandomStream random(3);
    std::vector<SequenceSpec> requests = RandomRequests(3, 10, random);
    for (SequenceSpec& spec : requests) {
      spec.tokens = std::vector<TokenId>(320);
      for (TokenId& token : spec.tokens) token = static_cast<TokenId>(random.Between(0, 2046));
    }
    // The second begins like the first and then differs; the third is the second again.
    std::copy_n(requests[0].tokens.begin(), 170, requests[1].tokens.begin());
    requests[2].tokens = requests[1].tokens;
    Engine warm(folder.Path(), compute, 100, {.prefill_chunk_tokens = 50});
    PrefixCache cache(warm.pool, 100);
    const std::int64_t cached[] = {0, 160, 304};

    for (std::size_t id = 0; id < requests.size(); ++id) {
      CAPTURE(id);
      Engine cold(folder.Path(), compute, 100, {.prefill_chunk_tokens = 128});
      PrefixCache nothing(cold.pool, 100);
      const auto expected = RunCached(cold, nothing, requests[id], 0);
      const auto shared = RunCached(warm, cache, requests[id], cached[id]);

      CHECK(shared == expected);
      CHECK(warm.events.Of(Key(id)).tokens == cold.events.Of(Key(id)).tokens);
      CHECK(warm.events.Of(Key(id)).layers.front().first_position == cached[id]);
    }
  }
}

TEST_CASE("KV in the wrong blocks changes the answer") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(test::NamedShape("1m").value(), folder.Path()).ok());
  RandomStream random(9);
  Engine engine(folder.Path(), kernels::ComputeClass::kBF16, 500, {});
  SequenceSpec spec{.key = Key(0), .phase = Phase::kDecode, .stop = {.max_tokens = 24}};
  for (int i = 0; i < 100; ++i) spec.tokens.push_back(static_cast<TokenId>(random.Between(0, 2046)));
  SequenceSpec whole = spec;
  whole.key = Key(1);
  whole.phase = Phase::kWhole;
  whole.blocks = Take(engine.pool, 200, random);
  spec.blocks = Take(engine.pool, 200, random);  // never written: zeros
  engine.executor->Submit(whole);
  engine.events.WaitForReleases(1);
  spec.tokens.push_back(engine.events.Of(Key(1)).tokens.front());
  engine.events.ExpectFirstIndex(Key(0), 1);
  engine.executor->Submit(spec);
  engine.events.WaitForReleases(2);

  const auto right = engine.events.Of(Key(1)).tokens;
  CHECK(engine.events.Of(Key(0)).tokens != std::vector<TokenId>(right.begin() + 1, right.end()));
}

}  // namespace
}  // namespace baton::engine
