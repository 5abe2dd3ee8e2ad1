#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace baton::test {

/// A checkpoint of random weights, for tests and benchmarks: a Llama, or another architecture by its name.
struct CheckpointSpec {
  std::int64_t hidden = 128;
  std::int64_t intermediate = 384;
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 32;
  std::int64_t vocabulary = 2048;
  std::int64_t context = 8192;
  bool tied_embeddings = true;
  std::string dtype = "bf16";  // or "f32", "f16"
  std::uint64_t seed = 1;
  int shards = 1;
  std::string architecture = "LlamaForCausalLM";
  std::int64_t window = 0;  // sliding_window of the architectures that have one; 0 = null
  bool biases = false;      // of a Llama: of attention and of the MLPs
  // Of the architectures with experts.
  std::int64_t experts = 0;
  std::vector<std::int64_t> dense_layers = {};  // of a Qwen: mlp_only_layers
  std::int64_t experts_chosen = 2;
  std::int64_t expert_intermediate = 96;
  std::int64_t shared_intermediate = 160;  // Qwen2-MoE
  /// Members put over those of config.json, as JSON.
  std::string config_overlay = "{}";
  /// Where tokenizer.json and tokenizer_config.json are copied from; empty = none.
  std::string tokenizer_directory = {};

  [[nodiscard]] std::int64_t Parameters() const;
};

/// The spec of a named shape. "1m" has the demo model's vocabulary; "15m", "125m" and "1.1b" have the sizes
/// usual for comparisons, with a vocabulary of 32,000; "8b" is for GPUs, with one of 128,256.
[[nodiscard]] absl::StatusOr<CheckpointSpec> NamedShape(std::string_view name);
[[nodiscard]] std::vector<std::string> ShapeNames();

/// Writes config.json, generation_config.json and the weights to `directory`, which is made. The same spec
/// gives the same bytes. Logits have a standard deviation of about 3, so that neither greedy nor sampled text
/// is degenerate.
[[nodiscard]] absl::Status MakeCheckpoint(const CheckpointSpec& spec, const std::string& directory);

}  // namespace baton::test
