#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "common/base/check.h"
#include "common/base/random.h"
#include "engine/model/model.h"

namespace baton::test {

/// A model whose logits are a hash of all that its sequence's KV holds, so that a wrong block, position or
/// token shows in every token that follows. Writes one 64-bit word a token and layer. `before_step` runs at
/// the begin of a step.
class FakeModel final : public engine::Model {
 public:
  explicit FakeModel(int layers = 2, std::int32_t vocabulary = 97) {
    config_ = {.architecture = "Fake",
               .layers = layers,
               .heads = 1,
               .kv_heads = 1,
               .head_dim = 2,
               .vocabulary = vocabulary,
               .context = 1 << 20};
  }

  /// What an arena for this model looks like.
  [[nodiscard]] engine::KvGeometry Geometry(std::int64_t blocks) const {
    return {.layers = config_.layers, .blocks = blocks, .kv_heads = 1, .head_dim = 2};
  }

  std::function<void(const engine::StepBatch&)> before_step;
  bool on_device = false;          // where the highest logits are enough, the others are NaNs
  std::int64_t highest_steps = 0;  // of such

  [[nodiscard]] const engine::ModelConfig& Config() const override { return config_; }
  [[nodiscard]] std::uint64_t Fingerprint() const override { return 1; }
  [[nodiscard]] std::string NumericsClass() const override { return "fake"; }

  kernels::Rows Forward(const engine::StepBatch& batch, const engine::KvArena& arena,
                        const engine::LayerDone& layer_done) override {
    if (before_step) before_step(batch);
    for (int layer = 0; layer < config_.layers; ++layer) {
      WriteLayer(batch, arena.Layer(layer), layer);
      if (layer_done) layer_done(layer);
    }
    logits_.clear();
    for (const std::int64_t row : batch.logit_rows) AppendLogits(batch, arena, row);
    if (on_device && batch.highest != nullptr) KeepHighest(*batch.highest);
    return {.data = logits_.data(),
            .rows = std::ssize(batch.logit_rows),
            .columns = config_.vocabulary,
            .stride = config_.vocabulary};
  }

  /// The logits after `tokens`, without any KV.
  [[nodiscard]] std::vector<float> PlainLogits(const std::vector<TokenId>& tokens) const {
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      for (int layer = 0; layer < config_.layers; ++layer) {
        hash = Mix64(hash ^ Word(tokens[i], static_cast<std::int64_t>(i), layer));
      }
    }
    std::vector<float> logits;
    AppendLogits(hash, logits);
    return logits;
  }

 private:
  void KeepHighest(engine::HighestLogits& out) {
    ++highest_steps;
    const auto vocabulary = static_cast<std::size_t>(config_.vocabulary);
    for (std::size_t first = 0; first < logits_.size(); first += vocabulary) {
      std::vector<std::int32_t> order(vocabulary);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return logits_[first + static_cast<std::size_t>(a)] > logits_[first + static_cast<std::size_t>(b)];
      });
      order.resize(static_cast<std::size_t>(out.count));
      for (const std::int32_t token : order) {
        out.tokens.push_back(token);
        out.logits.push_back(logits_[first + static_cast<std::size_t>(token)]);
      }
    }
    std::ranges::fill(logits_, std::numeric_limits<float>::quiet_NaN());
  }
  static std::uint64_t Word(TokenId token, std::int64_t position, int layer) {
    return CounterBits(static_cast<std::uint64_t>(token), static_cast<std::uint64_t>(position * 64 + layer));
  }
  static std::byte* Place(const kernels::KvLayer& layer, const kernels::SequenceSlice& slice,
                          std::int64_t position) {
    const BlockIndex block = slice.blocks[static_cast<std::size_t>(position / engine::kBlockTokens)];
    return layer.base + block.value * layer.BlockBytes() +
           static_cast<std::size_t>(position % engine::kBlockTokens) * 8;
  }
  static void WriteLayer(const engine::StepBatch& batch, const kernels::KvLayer& kv, int layer) {
    for (const kernels::SequenceSlice& slice : batch.slices) {
      for (std::int64_t i = 0; i < slice.tokens; ++i) {
        const std::int64_t position = slice.first_position + i;
        const auto row = static_cast<std::size_t>(slice.first_row + i);
        BATON_CHECK(batch.positions[row] == position);
        const std::uint64_t word = Word(batch.tokens[row], position, layer);
        std::memcpy(Place(kv, slice, position), &word, sizeof word);
      }
    }
  }
  void AppendLogits(const engine::StepBatch& batch, const engine::KvArena& arena, std::int64_t row) {
    for (const kernels::SequenceSlice& slice : batch.slices) {
      if (row < slice.first_row || row >= slice.first_row + slice.tokens) continue;
      std::uint64_t hash = 0;
      for (std::int64_t position = 0; position <= slice.first_position + row - slice.first_row; ++position) {
        for (int layer = 0; layer < config_.layers; ++layer) {
          std::uint64_t word = 0;
          std::memcpy(&word, Place(arena.Layer(layer), slice, position), sizeof word);
          hash = Mix64(hash ^ word);
        }
      }
      AppendLogits(hash, logits_);
    }
  }
  void AppendLogits(std::uint64_t hash, std::vector<float>& logits) const {
    for (std::int32_t id = 0; id < config_.vocabulary; ++id) {
      logits.push_back(static_cast<float>(CounterUniform(hash, static_cast<std::uint64_t>(id)) * 6 - 3));
    }
  }

  engine::ModelConfig config_;
  std::vector<float> logits_;
};

}  // namespace baton::test
