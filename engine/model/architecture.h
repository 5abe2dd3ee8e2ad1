#pragma once

#include <cstdint>
#include <string_view>

#include <absl/status/statusor.h>

#include "engine/model/config_fields.h"
#include "engine/model/model_config.h"

namespace baton::engine {

/// What a name in `architectures` stands for: the parts that its decoder has, and what a config.json that
/// leaves a field out means by that (the defaults of the Hugging Face configuration class).
struct Architecture {
  std::string_view name;
  std::string_view model_type;  // names it where `architectures` is left out
  enum class Bias { kNone, kAsConfigured, kQkv } bias = Bias::kNone;
  /// Where a sliding window applies; of the last three only with `use_sliding_window`.
  enum class Window { kNone, kAllLayers, kAllIfUsed, kUpperLayers, kEvenLowerLayers } window = Window::kNone;
  enum class Experts { kNone, kMixtral, kQwen, kQwenWithShared } experts = Experts::kNone;
  bool qk_norm = false;
  bool mlp_bias = false;      // as configured; else none
  std::int64_t kv_heads = 0;  // 0 = as many as query heads
  std::int64_t head_dim = 0;  // 0 = hidden_size / heads
  std::int64_t context = 0;
  std::int64_t window_tokens = 0;  // where `sliding_window` is left out; 0 = none
  double rope_theta = 10000;
  double rms_epsilon = 1e-6;
};

/// The one that `architectures` names. Unimplemented lists those that are supported.
[[nodiscard]] absl::StatusOr<const Architecture*> FindArchitecture(const Fields& fields);
/// Biases, norms of queries and keys, windows.
[[nodiscard]] absl::Status ReadAttention(const Fields& fields, const Architecture& family,
                                         ModelConfig& config);
/// The mixture of experts, where the architecture has one.
[[nodiscard]] absl::Status ReadExperts(const Fields& fields, const Architecture& family, ModelConfig& config);

}  // namespace baton::engine
