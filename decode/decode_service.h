#pragma once

#include <memory>

#include "engine/worker/service.h"

namespace baton::decode {

/// The decode phase: reserves blocks, receives a prompt's KV, writes the answer.
///   WAITING (no blocks yet) -> RECEIVING -> DECODING -> ENDED
/// A reservation covers the prompt and the longest answer that the request allows, so that a running answer
/// never meets an empty pool. Blocks of a transfer that failed stay in quarantine until no write can land any
/// more.
[[nodiscard]] std::unique_ptr<engine::PhaseService> CreateDecodeService(
    const engine::ServiceContext& context);

}  // namespace baton::decode
