// A warmed step allocates nothing: counted by this binary's own operator new.
#include <atomic>
#include <cstdlib>
#include <new>

#include <catch2/catch.hpp>

#include "engine/model/decoder_weights.h"
#include "tests/support/make_checkpoint.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/temporary_folder.h"

namespace {
std::atomic<std::int64_t> allocations{0};

void* Counted(std::size_t bytes) {
  ++allocations;
  void* memory = std::malloc(bytes > 0 ? bytes : 1);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(std::size_t bytes) {
  return Counted(bytes);
}
void* operator new[](std::size_t bytes) {
  return Counted(bytes);
}
// Those that return null are replaced too, since what they give is freed by the same ones below.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return Counted(bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return Counted(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace baton::engine {
namespace {

using kernels::ComputeClass;

test::CheckpointSpec Small(const std::string& architecture, std::int64_t experts) {
  return {.hidden = 96,
          .intermediate = 144,
          .layers = 2,
          .heads = 6,
          .kv_heads = 2,
          .head_dim = 24,
          .vocabulary = 300,
          .context = 256,
          .architecture = architecture,
          .experts = experts};
}

TEST_CASE("a warmed step allocates nothing, whatever the class, on one thread and on two") {
  for (const auto& [architecture, experts] :
       {std::pair{"LlamaForCausalLM", 0}, std::pair{"Qwen2ForCausalLM", 0},
        std::pair{"MixtralForCausalLM", 4}}) {
    const test::TemporaryFolder folder;
    REQUIRE(test::MakeCheckpoint(Small(architecture, experts), folder.Path()).ok());
    for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16, ComputeClass::kInt8}) {
      for (const int threads : {1, 2}) {
        CAPTURE(architecture, std::string(kernels::Name(compute)), threads);
        const auto backend = *kernels::CreateCpuBackend({.compute = compute, .threads = threads});
        const auto model = *LoadModel(folder.Path(), *backend, 64);
        const auto arena = *KvArena::Create(
            *backend, {.layers = 2, .blocks = 64, .kv_heads = 2, .head_dim = 24, .dtype = backend->KvType()});
        // 16 sequences with four blocks each, one token a step.
        std::vector<BlockTable> tables(16);
        for (std::uint32_t i = 0; i < 64; ++i) tables[i / 4].emplace_back(i);
        StepBatch batch;
        for (std::int64_t i = 0; i < 16; ++i) {
          batch.tokens.push_back(static_cast<TokenId>(i));
          batch.positions.push_back(0);
          batch.slices.push_back(
              {.blocks = tables[static_cast<std::size_t>(i)], .first_row = i, .tokens = 1});
          batch.logit_rows.push_back(i);
        }
        std::int64_t after_warming = 0;
        for (std::int32_t position = 0; position < 64; ++position) {
          for (std::size_t i = 0; i < 16; ++i) {
            batch.positions[i] = position;
            batch.slices[i].first_position = position;
            batch.tokens[i] = static_cast<TokenId>((position * 7 + static_cast<std::int32_t>(i)) % 300);
          }
          const std::int64_t before = allocations.load();
          model->Forward(batch, arena, {});
          if (position >= 48) after_warming += allocations.load() - before;
        }
        CHECK(after_warming == 0);
      }
    }
  }
}

TEST_CASE("a class int8 model keeps the weights that choose experts in bf16, and rounds the experts'") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Small("Qwen2MoeForCausalLM", 4), folder.Path()).ok());
  const auto config = *LoadModelConfig(folder.Path());
  const auto checkpoint = Checkpoint::Open(folder.Path());
  REQUIRE(checkpoint.ok());
  const auto load = [&](ComputeClass compute) {
    const auto backend = *kernels::CreateCpuBackend({.compute = compute, .threads = 1});
    return *LoadDecoderWeights(config, *checkpoint, {}, *backend);
  };

  const DecoderWeights bf16 = load(ComputeClass::kBF16);
  const DecoderWeights int8 = load(ComputeClass::kInt8);

  for (std::size_t layer = 0; layer < bf16.layers.size(); ++layer) {
    const ExpertWeights& wide = *bf16.layers[layer].experts;
    const ExpertWeights& narrow = *int8.layers[layer].experts;
    CHECK(narrow.router->Bytes() == wide.router->Bytes());
    CHECK(narrow.shared_gate->Bytes() == wide.shared_gate->Bytes());
    CHECK(narrow.experts[0].gate_up->Bytes() < wide.experts[0].gate_up->Bytes());
    CHECK(narrow.shared.down->Bytes() < wide.shared.down->Bytes());
  }
}

}  // namespace
}  // namespace baton::engine
