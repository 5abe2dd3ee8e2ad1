#pragma once

#include <memory>

#include <absl/status/status.h>

#include "common/base/clock.h"
#include "kvtransfer/handoff.h"
#include "kvtransfer/transport.h"

namespace baton::kvtransfer {

/// Whether what a transport sends from the arena's own memory, a GPU's, is what lies there: sent to itself,
/// in a small message and in a large one, and compared. Before anybody uses the arena, whose first blocks are
/// zeros afterwards as they were before. `transport` is one for this alone, not started. Takes `patience` at
/// most, and what the transport takes to end. The message of an error says what did not hold.
[[nodiscard]] absl::Status ProveDeviceReads(std::unique_ptr<Transport> transport, const ArenaView& arena,
                                            Duration patience);

}  // namespace baton::kvtransfer
