#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
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
  bool on_device = false;         // where chosen logits are enough, the rows are NaNs until they are read
  std::int64_t chosen_steps = 0;  // of such
  std::int64_t drawn_rows = 0;    // that were not left to whoever asked
  std::int64_t read_rows = 0;

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
    if (on_device && batch.chosen != nullptr) Choose(*batch.chosen);
    return {.data = logits_.data(),
            .rows = std::ssize(batch.logit_rows),
            .columns = config_.vocabulary,
            .stride = config_.vocabulary};
  }

  kernels::Rows ReadLogits(const kernels::Rows& rows) override {
    if (on_device) ++read_rows;
    kernels::Rows hidden = rows;
    if (on_device) hidden.data = hidden_.data() + (rows.data - logits_.data());
    return hidden;
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
  void Choose(engine::ChosenLogits& out) {
    ++chosen_steps;
    out.filled = true;
    out.tokens.clear();
    out.logits.clear();
    out.drawn.clear();
    const auto vocabulary = static_cast<std::size_t>(config_.vocabulary);
    for (std::size_t first = 0; first < logits_.size(); first += vocabulary) {
      const std::span<const float> row = std::span(logits_).subspan(first, vocabulary);
      std::vector<std::int32_t> order(vocabulary);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return row[static_cast<std::size_t>(a)] > row[static_cast<std::size_t>(b)];
      });
      order.resize(static_cast<std::size_t>(out.count));
      for (const std::int32_t token : order) {
        out.tokens.push_back(token);
        out.logits.push_back(row[static_cast<std::size_t>(token)]);
      }
      if (!out.draws.empty()) out.drawn.push_back(Draw(row, out.draws[first / vocabulary]));
    }
    hidden_ = logits_;
    std::ranges::fill(logits_, std::numeric_limits<float>::quiet_NaN());
  }
  /// Each fifth is not known.
  kernels::DrawnRow Draw(std::span<const float> row, const kernels::RowDraw& draw) {
    if (draw.temperature <= 0 || ++drawn_rows % 5 == 0) return {};
    const double highest = static_cast<double>(*std::ranges::max_element(row));
    std::vector<double> weights;
    for (const float logit : row) {
      const double weight = std::exp((static_cast<double>(logit) - highest) / draw.temperature);
      weights.push_back(weight >= draw.min_p ? weight : 0);
    }
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    double reached = 0;
    std::int32_t column = 0;
    while ((reached += weights[static_cast<std::size_t>(column)]) <= draw.uniform * total) ++column;
    return {.column = column, .total = total};
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
  std::vector<float> hidden_;  // those of a step whose rows are NaNs
};

}  // namespace baton::test
