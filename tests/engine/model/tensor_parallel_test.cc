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

TEST_CASE("2 and 4 ranks give every rank the bits of one") {
  const std::vector<TokenId> tokens = test::RandomTokens(80, 301, 3);
  for (const char* architecture :
       {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen2MoeForCausalLM"}) {
    const test::TemporaryFolder folder;
    REQUIRE(test::MakeCheckpoint(Spec(architecture), folder.Path()).ok());
    for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
      SequenceRunner one(folder.Path(), {.compute = compute});
      const auto wanted = one.AllLogits(tokens);
      for (const int ranks : {1, 2, 4}) {
        CAPTURE(architecture, kernels::Name(compute), ranks);
        for (const auto& logits : OfRanks(folder.Path(), compute, ranks, tokens)) CHECK(logits == wanted);
      }
    }
  }
}

TEST_CASE("more ranks than divide the key-value heads are refused") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Spec("LlamaForCausalLM"), folder.Path()).ok());
  const auto backend = *kernels::CreateCpuBackend({.threads = 1});
  const auto communicators = kernels::CreateInProcessCommunicators(8);

  const auto model = LoadModelShare(folder.Path(), *backend, *communicators[0], 16);

  CHECK(Message(model.status()) == "8 ranks do not divide the model's 4 key-value heads");
}

}  // namespace
}  // namespace baton::engine
