// A model in a device's memory: CUDA's kernels emulated, NCCL by its stand-in.
#include <algorithm>
#include <numeric>
#include <thread>

#include <catch2/catch.hpp>

#include "engine/model/decoder_weights.h"
#include "engine/sample/sampler.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/rank_cases.h"
#include "tests/support/make_checkpoint.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

using test::SequenceRunner;

test::CheckpointSpec Spec() {
  return {.hidden = 96,
          .intermediate = 150,
          .layers = 2,
          .heads = 8,
          .kv_heads = 4,
          .head_dim = 18,
          .vocabulary = 301,
          .context = 256,
          .architecture = "LlamaForCausalLM"};
}

TEST_CASE("a model whose logits are on a device gives what is chosen of them, and rows that are asked for") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Spec(), folder.Path()).ok());
  const std::vector<TokenId> tokens = test::RandomTokens(12, 301, 3);
  for (const kernels::BackendCase& one : kernels::EmulatedCases()) {
    CAPTURE(one.name);
    SequenceRunner runner(folder.Path(), one.make());
    const auto logits = runner.AllLogits(tokens);
    Sampler sampler(301);
    const SamplingParams params{.temperature = 0.8, .seed = 4};
    ChosenLogits chosen{.count = 5};
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      chosen.draws.push_back({.temperature = row % 3 == 0 ? 0 : params.temperature,
                              .uniform = Sampler::UniformAt(params, static_cast<std::int64_t>(row))});
    }

    const kernels::Rows rows = runner.Step(tokens, 0, &chosen);

    if (!chosen.filled) {  // its logits are on the host
      CHECK(rows.data[0] == logits[0][0]);
      continue;
    }
    REQUIRE(chosen.tokens.size() == 5 * tokens.size());
    REQUIRE(chosen.drawn.size() == tokens.size());
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      std::vector<std::int32_t> order(301);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return logits[row][static_cast<std::size_t>(a)] > logits[row][static_cast<std::size_t>(b)];
      });
      for (std::size_t i = 0; i < 5; ++i) {
        REQUIRE(chosen.tokens[5 * row + i] == order[i]);
        REQUIRE(chosen.logits[5 * row + i] == logits[row][static_cast<std::size_t>(order[i])]);
      }
      CHECK(chosen.drawn[row].column ==
            (row % 3 == 0 ? -1 : sampler.Sample(logits[row], params, static_cast<std::int64_t>(row))));
    }
    kernels::Rows last = rows;
    last.data += 11 * rows.stride;
    last.rows = 1;
    const kernels::Rows read = runner.Model().ReadLogits(last);
    CHECK(std::equal(logits[11].begin(), logits[11].end(), read.data));
  }
}

TEST_CASE("2 and 4 ranks on devices give every rank the bits of one") {
  const test::TemporaryFolder folder;
  REQUIRE(test::MakeCheckpoint(Spec(), folder.Path()).ok());
  const std::vector<TokenId> tokens = test::RandomTokens(20, 301, 4);
  for (const kernels::RankCase& one : kernels::NcclCases(true)) {
    std::vector<std::vector<float>> wanted;
    for (const int ranks : {1, 2, 4}) {
      CAPTURE(one.name, ranks);
      kernels::Ranks group = one.make(ranks);
      std::vector<std::vector<std::vector<float>>> logits(group.communicators.size());
      std::vector<std::string> classes(logits.size());
      {
        std::vector<std::jthread> threads;
        for (std::size_t rank = 0; rank < logits.size(); ++rank) {
          threads.emplace_back([&, rank] {
            SequenceRunner runner(folder.Path(), std::move(group.backends[rank]), 512,
                                  group.communicators[rank].get());
            logits[rank] = runner.AllLogits(tokens, 7);
            classes[rank] = runner.Model().NumericsClass();
            group.communicators[rank].reset();  // before its backend
          });
        }
      }
      if (wanted.empty()) wanted = logits[0];
      for (const auto& of_rank : logits) CHECK(of_rank == wanted);
      CHECK(classes[0].find("/ranks") == std::string::npos);
    }
  }
}

TEST_CASE("ranks share out all there is, each thing to one of them, K where its segments end") {
  for (const std::int64_t count : {1, 7, 128, 151'936}) {
    for (const int ranks : {1, 2, 4, 8}) {
      CAPTURE(count, ranks);
      std::int64_t next = 0;
      std::int64_t column = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const Shard shard{.rank = rank, .ranks = ranks};
        const Range range = shard.Of(count);
        CHECK(range.first == next);
        CHECK(range.count >= count / ranks);
        CHECK(range.count <= count / ranks + 1);
        next += range.count;
        const Range inner = shard.InnerColumns(count);
        CHECK(inner.first == column);
        column += inner.count;
        CHECK(shard.Segments().first == rank * kernels::kReductionSegments / ranks);
      }
      CHECK(next == count);
      CHECK(column == count);
    }
  }
}

}  // namespace
}  // namespace baton::engine
