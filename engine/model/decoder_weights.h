#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "kernels/backend.h"

namespace baton::engine {

/// f32 numbers in the backend's memory; empty where a model has none.
class BackendFloats {
 public:
  BackendFloats() = default;
  [[nodiscard]] static absl::StatusOr<BackendFloats> Upload(std::span<const float> values,
                                                            kernels::Backend& backend);
  [[nodiscard]] bool empty() const { return count_ == 0; }
  operator std::span<const float>() const { return {buffer_.As<const float>(), count_}; }

 private:
  kernels::Buffer buffer_;
  std::size_t count_ = 0;
};

/// SwiGLU: down(silu(gate(x)) * up(x)).
struct MlpWeights {
  std::unique_ptr<kernels::PackedMatrix> gate_up;  // rows: gate, up
  BackendFloats gate_up_bias;
  std::unique_ptr<kernels::PackedMatrix> down;
  BackendFloats down_bias;
  [[nodiscard]] std::int64_t Width() const { return down->Columns(); }
};

/// A mixture of experts.
struct ExpertWeights {
  std::unique_ptr<kernels::PackedMatrix> router;  // [experts][hidden]
  std::vector<MlpWeights> experts;
  MlpWeights shared;                                   // every token's; null matrices where there is none
  std::unique_ptr<kernels::PackedMatrix> shared_gate;  // [1][hidden]
};

/// One layer of a decoder, matrices packed for the backend. What a model does not have is empty.
struct LayerWeights {
  BackendFloats attention_norm;
  std::unique_ptr<kernels::PackedMatrix> qkv;  // rows: queries, keys, values
  BackendFloats qkv_bias;
  BackendFloats query_norm, key_norm;  // [head_dim]
  std::unique_ptr<kernels::PackedMatrix> output;
  BackendFloats output_bias;
  BackendFloats mlp_norm;
  MlpWeights mlp;  // or
  std::unique_ptr<ExpertWeights> experts;
};

/// All weights of a decoder. Immutable.
struct DecoderWeights {
  kernels::Buffer embedding_bytes;
  kernels::WeightView embedding;  // into `embedding_bytes`, in the backend's memory
  std::vector<LayerWeights> layers;
  BackendFloats final_norm;
  std::unique_ptr<kernels::PackedMatrix> head;  // packed from the embedding where they are tied
};

/// Numbers [first, first + count) of something.
struct Range {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// Which share of a tensor-parallel model a rank has: its heads of attention, its inner columns of every MLP,
/// its rows of the vocabulary.
struct Shard {
  int rank = 0;
  int ranks = 1;  // 1, 2, 4 or 8
  /// This rank's part of `count` things, which are shared out as evenly as can be.
  [[nodiscard]] Range Of(std::int64_t count) const;
  /// The segments of a matmul's K that this rank sums, and the columns that they span.
  [[nodiscard]] kernels::SegmentRange Segments() const;
  [[nodiscard]] Range InnerColumns(std::int64_t columns) const;
};

/// The key-value heads that each of `ranks` has: with more ranks than heads one, which several of them have.
[[nodiscard]] int KvHeadsPerRank(const ModelConfig& config, int ranks);

/// Reads and packs the share of `shard` of what `config` asks for. Errors name file and tensor.
[[nodiscard]] absl::StatusOr<DecoderWeights> LoadDecoderWeights(const ModelConfig& config,
                                                                const Checkpoint& checkpoint,
                                                                const Shard& shard,
                                                                kernels::Backend& backend);

}  // namespace baton::engine
