#pragma once

#include <memory>

#include "kvtransfer/handoff.h"
#include "kvtransfer/transport.h"

namespace baton::kvtransfer {

/// `Handoff::Create` over a transport of the caller's: how tests put faults under the protocol.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Handoff>> CreateHandoffWith(
    std::unique_ptr<Transport> transport, net::EventLoop& loop, const HandoffOptions& options,
    const ArenaView& arena, Incarnation incarnation, metrics::Registry& metrics, Handoff::Observer observer);

}  // namespace baton::kvtransfer
