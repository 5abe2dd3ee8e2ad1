#pragma once

#include <memory>

#include "engine/worker/service.h"

namespace baton::decode {

/// The decode phase: reserves blocks, receives a prompt's KV, writes the answer.
///   WAITING (no blocks yet) -> RECEIVING -> DECODING -> ENDED
/// A reservation takes the prompt's blocks and a first growth; answers then grow block by block, and the
/// older takes from the younger when memory ends (`engine/kv/answer_memory.h`). Blocks of a transfer that
/// failed stay in quarantine until no write can land any more.
[[nodiscard]] std::unique_ptr<engine::PhaseService> CreateDecodeService(
    const engine::ServiceContext& context);

}  // namespace baton::decode
