#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_arena.h"
#include "engine/model/model.h"

namespace baton::test {

/// `count` random ids of a vocabulary; the same seed, the same ids.
[[nodiscard]] inline std::vector<TokenId> RandomTokens(std::size_t count, std::int64_t vocabulary,
                                                       std::uint64_t seed) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>(CounterBits(seed, i) % static_cast<std::uint64_t>(vocabulary)));
  return tokens;
}

/// A backend, a model and an arena for one sequence at a time, without executor or planner.
class SequenceRunner {
 public:
  /// With a communicator it is one rank of a tensor-parallel group.
  SequenceRunner(const std::string& directory, const kernels::CpuOptions& options,
                 std::int64_t max_rows = 512, kernels::Communicator* communicator = nullptr)
      : SequenceRunner(directory, kernels::CreateCpuBackend(options), max_rows, communicator) {}

  SequenceRunner(const std::string& directory, absl::StatusOr<std::unique_ptr<kernels::Backend>> backend,
                 std::int64_t max_rows = 512, kernels::Communicator* communicator = nullptr) {
    BATON_CHECK(backend.ok(), "{}", Message(backend.status()));
    backend_ = *std::move(backend);
    auto model = communicator == nullptr
                     ? engine::LoadModel(directory, *backend_, max_rows)
                     : engine::LoadModelShare(directory, *backend_, *communicator, max_rows);
    BATON_CHECK(model.ok(), "{}", Message(model.status()));
    model_ = *std::move(model);
    const engine::ModelConfig& config = model_->Config();
    const int ranks = communicator == nullptr ? 1 : communicator->Size();
    auto arena =
        engine::KvArena::Create(*backend_, {.layers = config.layers,
                                            .blocks = engine::BlocksFor(config.context, engine::kBlockTokens),
                                            .kv_heads = std::max(1, config.kv_heads / ranks),
                                            .head_dim = config.head_dim,
                                            .dtype = backend_->KvType()});
    BATON_CHECK(arena.ok(), "{}", Message(arena.status()));
    arena_ = std::make_unique<engine::KvArena>(*std::move(arena));
    // Blocks from the last to the first: positions must be found through the table.
    for (std::int64_t block = engine::BlocksFor(config.context, engine::kBlockTokens); block-- > 0;) {
      blocks_.emplace_back(static_cast<std::uint32_t>(block));
    }
  }

  [[nodiscard]] engine::Model& Model() { return *model_; }

  /// Logits of each of `tokens`, computed from position 0 in chunks of `chunk` rows.
  std::vector<std::vector<float>> AllLogits(std::span<const TokenId> tokens, std::int64_t chunk = 512) {
    std::vector<std::vector<float>> all;
    for (std::size_t first = 0; first < tokens.size(); first += static_cast<std::size_t>(chunk)) {
      const std::size_t count = std::min(tokens.size() - first, static_cast<std::size_t>(chunk));
      for (auto& logits : Append(tokens.subspan(first, count), static_cast<std::int64_t>(first))) {
        all.push_back(std::move(logits));
      }
    }
    return all;
  }

  /// Logits of each of `tokens`, which begin at `position`; what is before must have been computed.
  std::vector<std::vector<float>> Append(std::span<const TokenId> tokens, std::int64_t position) {
    const kernels::Rows rows = Step(tokens, position);
    std::vector<std::vector<float>> logits;
    for (std::int64_t row = 0; row < rows.rows; ++row) {
      const float* data = rows.data + row * rows.stride;
      logits.emplace_back(data, data + rows.columns);
    }
    return logits;
  }

  /// The same as the model gives it.
  kernels::Rows Step(std::span<const TokenId> tokens, std::int64_t position,
                     engine::ChosenLogits* chosen = nullptr) {
    engine::StepBatch batch;
    batch.slices.push_back(
        {.blocks = blocks_, .first_row = 0, .tokens = std::ssize(tokens), .first_position = position});
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      batch.tokens.push_back(tokens[i]);
      batch.positions.push_back(static_cast<std::int32_t>(position + static_cast<std::int64_t>(i)));
      batch.logit_rows.push_back(static_cast<std::int64_t>(i));
    }
    batch.chosen = chosen;
    return model_->Forward(batch, *arena_, {});
  }

  /// `count` tokens that follow `prompt`, each the likeliest; no token ends it.
  std::vector<TokenId> Greedy(std::span<const TokenId> prompt, std::int64_t count) {
    std::vector<TokenId> answer;
    std::vector<float> logits = AllLogits(prompt).back();
    while (std::ssize(answer) < count) {
      answer.push_back(ArgMax(logits));
      if (std::ssize(answer) == count) break;
      logits = Append(std::span(&answer.back(), 1), std::ssize(prompt) + std::ssize(answer) - 1).front();
    }
    return answer;
  }

  static TokenId ArgMax(const std::vector<float>& logits) {
    return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }

 private:
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<engine::Model> model_;
  std::unique_ptr<engine::KvArena> arena_;
  engine::BlockTable blocks_;
};

}  // namespace baton::test
