// A model cut over ranks against the same model whole: equal bits.
#include <catch2/catch.hpp>

#include <thread>

#include "tests/support/make_checkpoint.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

using kernels::ComputeClass;
using test::SequenceRunner;

test::CheckpointSpec Spec(const std::string& architecture) {
  return {.hidden = 96,
          .intermediate = 150,  // segments of unequal widths
          .layers = 2,
          .heads = 8,
          .kv_heads = 4,
          .head_dim = 18,
          .vocabulary = 301,
          .context = 256,
          .architecture = architecture,
          .biases = architecture == "LlamaForCausalLM",
          .experts = architecture == "Qwen2MoeForCausalLM" ? 5 : 0,
          .expert_intermediate = 44};
}

/// The logits of every rank over `tokens`, `chunk` rows a step.
std::vector<std::vector<std::vector<float>>> OfRanks(const std::string& directory, ComputeClass compute,
                                                     int ranks, const std::vector<TokenId>& tokens) {
  const auto communicators = kernels::CreateInProcessCommunicators(ranks);
  std::vector<std::vector<std::vector<float>>> logits(communicators.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < communicators.size(); ++rank) {
      threads.emplace_back([&, rank] {
        SequenceRunner runner(directory, {.compute = compute, .threads = 1}, 512, communicators[rank].get());
        logits[rank] = runner.AllLogits(tokens, 37);
      });
    }
  }
  return logits;
}

TEST_CASE("2, 4 and, of 4 key-value heads, 8 ranks give every rank the bits of one") {
  const std::vector<TokenId> tokens = test::RandomTokens(80, 301, 3);
  for (const char* architecture :
       {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen2MoeForCausalLM"}) {
    const test::TemporaryFolder folder;
    REQUIRE(test::MakeCheckpoint(Spec(architecture), folder.Path()).ok());
    for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
      SequenceRunner one(folder.Path(), {.compute = compute});
      const auto wanted = one.AllLogits(tokens);
      for (const int ranks : {1, 2, 4, 8}) {
        CAPTURE(architecture, kernels::Name(compute), ranks);
        for (const auto& logits : OfRanks(folder.Path(), compute, ranks, tokens)) CHECK(logits == wanted);
      }
    }
  }
}

TEST_CASE("ranks that heads cannot be shared out among are refused") {
  const test::TemporaryFolder folder;
  auto spec = Spec("LlamaForCausalLM");
  spec.heads = 12;
  spec.kv_heads = 3;
  REQUIRE(test::MakeCheckpoint(spec, folder.Path()).ok());
  const auto backend = *kernels::CreateCpuBackend({.threads = 1});
  const auto communicators = kernels::CreateInProcessCommunicators(2);

  const auto model = LoadModelShare(folder.Path(), *backend, *communicators[0], 16);

  CHECK(Message(model.status()) == "2 ranks and the model's 3 key-value heads do not divide each other");
}

TEST_CASE("ranks behind one model give the bits of one, whatever block size, and report layers in order") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Spec("LlamaForCausalLM"), folder.Path()).ok());
  const std::vector<TokenId> tokens = test::RandomTokens(80, 301, 3);
  SequenceRunner one(folder.Path(), {.compute = ComputeClass::kBF16});
  const auto wanted = one.AllLogits(tokens);
  for (const int ranks : {1, 2, 8}) {
    for (const int block_tokens : {16, 32, 48, 128}) {
      CAPTURE(ranks, block_tokens);
      const auto backends = kernels::CreateCpuRanks({.threads = 1}, ranks);
      REQUIRE(backends.ok());
      const auto model = LoadRankedModel(folder.Path(), *backends, 512);
      REQUIRE(model.ok());
      const auto arena = KvArena::Create(*backends->front(), {.layers = 2,
                                                              .blocks = 8,
                                                              .kv_heads = ranks == 8 ? 1 : 4 / ranks,
                                                              .head_dim = 18,
                                                              .dtype = backends->front()->KvType(),
                                                              .block_tokens = block_tokens,
                                                              .ranks = ranks});
      REQUIRE(arena.ok());
      std::vector<BlockIndex> blocks;
      for (std::uint32_t block = 8; block-- > 0;) blocks.emplace_back(block);
      std::vector<int> layers;
      std::vector<std::vector<float>> logits;
      for (std::int64_t first = 0; first < 80; first += 40) {
        StepBatch batch{.tokens = {tokens.begin() + first, tokens.begin() + first + 40}};
        for (std::int64_t i = 0; i < 40; ++i) {
          batch.positions.push_back(static_cast<std::int32_t>(first + i));
          batch.logit_rows.push_back(i);
        }
        batch.slices.push_back({.blocks = blocks, .first_row = 0, .tokens = 40, .first_position = first});
        const kernels::Rows rows =
            (*model)->Forward(batch, *arena, [&](int layer) { layers.push_back(layer); });
        for (std::int64_t i = 0; i < rows.rows; ++i)
          logits.emplace_back(rows.data + i * rows.stride, rows.data + i * rows.stride + rows.columns);
      }
      CHECK(logits == wanted);
      CHECK(layers == std::vector{0, 1, 0, 1});
    }
  }
}

}  // namespace
}  // namespace baton::engine
