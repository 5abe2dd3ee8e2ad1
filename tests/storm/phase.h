#pragma once

#include <array>
#include <string_view>

namespace baton::storm {

/// Moments at which a fault can strike a worker: as it connects, then a sender's, then a receiver's.
inline constexpr std::array<std::string_view, 13> kPhases = {
    "linking",    // an endpoint to a peer is being made; nothing to abort
    "asked",      // Send has returned, the grant may be there or not
    "granted",    // the grant has come
    "computing",  // half of the layers are ready
    "posting",    // a message goes to UCX
    "sent",       // UCX has reported a send
    "committed",  // Commit has returned
    "ended",      // on_ended
    "reserved",   // Receive has returned: the grant is on its way
    "placing",    // a message has been placed, nobody knows yet
    "closing",    // the window is about to close, by commit or abort
    "received",   // on_committed
    "released",   // on_released
};
/// What happens then. "kill" and "stop" strike the whole process; "abort" cancels the transfer.
inline constexpr std::array<std::string_view, 3> kActions = {"kill", "stop", "abort"};

}  // namespace baton::storm
