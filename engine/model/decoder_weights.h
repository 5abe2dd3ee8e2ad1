#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <absl/status/statusor.h>

#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "kernels/backend.h"

namespace baton::engine {

/// One layer of a decoder, matrices packed for the backend.
struct LayerWeights {
  std::vector<float> attention_norm;
  std::unique_ptr<kernels::PackedMatrix> qkv;  // rows: queries, keys, values
  std::unique_ptr<kernels::PackedMatrix> output;
  std::vector<float> mlp_norm;
  std::unique_ptr<kernels::PackedMatrix> gate_up;  // rows: gate, up
  std::unique_ptr<kernels::PackedMatrix> down;
};

/// All weights of a decoder. Immutable.
struct DecoderWeights {
  std::vector<std::byte> embedding_bytes;
  kernels::WeightView embedding;  // into `embedding_bytes`
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;
  std::unique_ptr<kernels::PackedMatrix> head;  // packed from the embedding where they are tied
};

/// Reads and packs what `config` asks for. Errors name file and tensor.
[[nodiscard]] absl::StatusOr<DecoderWeights> LoadDecoderWeights(const ModelConfig& config,
                                                                const Checkpoint& checkpoint,
                                                                kernels::Backend& backend);

}  // namespace baton::engine
