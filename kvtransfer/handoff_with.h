#pragma once

#include <functional>
#include <memory>

#include "kvtransfer/handoff.h"
#include "kvtransfer/transport.h"

namespace baton::kvtransfer {

/// `Handoff::Create` over a transport of the caller's: how tests put faults under the protocol. Where the
/// transport claims to read a GPU's memory, `make_another` gives one to prove it with; without, it is not
/// believed.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Handoff>> CreateHandoffWith(
    std::unique_ptr<Transport> transport, net::EventLoop& loop, const HandoffOptions& options,
    const ArenaView& arena, Incarnation incarnation, metrics::Registry& metrics, Handoff::Observer observer,
    const std::function<std::unique_ptr<Transport>()>& make_another = {});

}  // namespace baton::kvtransfer
