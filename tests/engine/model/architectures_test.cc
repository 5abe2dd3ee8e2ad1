// Every architecture against plain loops in double, and itself however its batch is cut.
#include <cmath>

#include <catch2/catch.hpp>

#include "tests/support/make_checkpoint.h"
#include "tests/support/reference_decoder.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

using kernels::ComputeClass;
using test::SequenceRunner;

test::CheckpointSpec Small(const std::string& architecture) {
  return {.hidden = 96,
          .intermediate = 144,
          .layers = 3,
          .heads = 6,
          .kv_heads = 2,
          .head_dim = 24,
          .vocabulary = 300,
          .context = 256,
          .tied_embeddings = false,
          .dtype = "f32",
          .architecture = architecture};
}

/// One of each kind of decoder.
std::vector<test::CheckpointSpec> Specs() {
  std::vector<test::CheckpointSpec> specs;
  specs.push_back(Small("LlamaForCausalLM"));
  specs.push_back(Small("LlamaForCausalLM"));
  specs.back().config_overlay =
      R"({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 64}})";
  specs.push_back(Small("LlamaForCausalLM"));
  specs.back().biases = true, specs.back().dtype = "f16", specs.back().shards = 3;
  specs.back().config_overlay = R"({"rope_scaling": {"type": "linear", "factor": 3}})";
  specs.push_back(Small("LlamaForCausalLM"));  // widths that no vector divides
  specs.back().hidden = 35, specs.back().intermediate = 51, specs.back().head_dim = 10;
  specs.back().heads = 5, specs.back().kv_heads = 1, specs.back().tied_embeddings = true;
  specs.back().config_overlay = R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
      "high_freq_factor": 4, "original_max_position_embeddings": 64}})";
  specs.push_back(Small("MistralForCausalLM"));
  specs.back().window = 17;
  specs.push_back(Small("Qwen2ForCausalLM"));
  specs.push_back(Small("Qwen2ForCausalLM"));
  specs.back().window = 40;  // from layer 1 on
  specs.push_back(Small("Qwen3ForCausalLM"));
  specs.push_back(Small("MixtralForCausalLM"));
  specs.back().experts = 5;
  specs.push_back(Small("Qwen2MoeForCausalLM"));
  specs.back().experts = 7, specs.back().experts_chosen = 3;
  specs.push_back(Small("Qwen2MoeForCausalLM"));
  specs.back().experts = 4, specs.back().dense_layers = {1};
  specs.back().window = 20;  // of layer 0 alone
  specs.push_back(Small("Qwen3MoeForCausalLM"));
  specs.back().experts = 8, specs.back().experts_chosen = 4;
  specs.back().config_overlay = R"({"norm_topk_prob": true})";
  return specs;
}

TEST_CASE("every architecture gives the logits of plain loops in double") {
  for (const test::CheckpointSpec& spec : Specs()) {
    CAPTURE(spec.architecture, spec.window);
    const test::TemporaryFolder folder;
    REQUIRE(test::MakeCheckpoint(spec, folder.Path()).ok());
    const auto config = LoadModelConfig(folder.Path());
    REQUIRE(config.ok());
    const std::vector<TokenId> tokens = test::RandomTokens(70, config->vocabulary, 5);
    const reference::Matrix wanted = reference::Logits(*config, *Checkpoint::Open(folder.Path()), tokens);
    SequenceRunner runner(folder.Path(), {.compute = ComputeClass::kF32});

    const auto logits = runner.AllLogits(tokens);

    double worst = 0;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      for (std::size_t i = 0; i < logits[t].size(); ++i) {
        const double error = std::abs(static_cast<double>(logits[t][i]) -
                                      wanted.At(static_cast<std::int64_t>(t), static_cast<std::int64_t>(i)));
        worst = std::isfinite(error) ? std::max(worst, error) : HUGE_VAL;
      }
    }
    CHECK(worst < 2e-4);
  }
}

TEST_CASE("every architecture gives the same bits however its prompt is cut") {
  for (const test::CheckpointSpec& spec : Specs()) {
    const test::TemporaryFolder folder;
    REQUIRE(test::MakeCheckpoint(spec, folder.Path()).ok());
    const std::vector<TokenId> tokens = test::RandomTokens(90, spec.vocabulary, 5);
    for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
      SequenceRunner runner(folder.Path(), {.compute = compute});
      const auto whole = runner.AllLogits(tokens);
      for (const std::int64_t chunk : {1, 13, 64}) {
        CAPTURE(spec.architecture, spec.window, kernels::Name(compute), chunk);
        CHECK(runner.AllLogits(tokens, chunk) == whole);
      }
    }
  }
}

}  // namespace
}  // namespace baton::engine
