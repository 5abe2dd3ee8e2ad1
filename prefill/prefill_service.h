#pragma once

#include <memory>

#include "engine/worker/service.h"

namespace baton::prefill {

/// The prefill phase: reads prompts, hands their KV to the decode worker that the router named.
///   WAITING (no blocks yet) -> RUNNING (computes; the transfer goes on beside it) -> ENDED
/// It ends when the executor and the hand-off have both let go of the blocks, whichever is last.
[[nodiscard]] std::unique_ptr<engine::PhaseService> CreatePrefillService(
    const engine::ServiceContext& context);

}  // namespace baton::prefill
