#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"

/// Any config.json, after a zero byte any generation_config.json, and the same text as a shard index: what is
/// accepted is consistent, its frequencies are finite, and no shard leaves its folder.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = text.find('\0');
  const std::string_view generation =
      cut == std::string_view::npos ? std::string_view() : text.substr(cut + 1);
  const auto config = baton::engine::ParseModelConfig(text.substr(0, cut), generation);
  if (config.ok()) {
    BATON_CHECK(config->heads % config->kv_heads == 0 && config->head_dim % 2 == 0 && config->hidden > 0);
    for (const baton::TokenId id : config->eos) BATON_CHECK(id >= 0 && id < config->vocabulary);
    for (const double frequency : baton::engine::InverseFrequencies(*config))
      BATON_CHECK(std::isfinite(frequency));
  }
  const auto shards = baton::engine::ParseShardIndex(text);
  if (shards.ok()) {
    for (const std::string& shard : *shards) BATON_CHECK(shard.find('/') == std::string::npos, "{}", shard);
  }
  return 0;
}
