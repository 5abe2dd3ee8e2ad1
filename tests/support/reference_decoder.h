#pragma once

#include <span>

#include "common/base/ids.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "tests/support/reference.h"

namespace baton::reference {

/// Logits [token][vocabulary] of a whole sequence, layer by layer in plain loops of double over the weights
/// as stored: what every architecture's forward pass is compared with.
[[nodiscard]] Matrix Logits(const engine::ModelConfig& config, const engine::Checkpoint& checkpoint,
                            std::span<const TokenId> tokens);

}  // namespace baton::reference
