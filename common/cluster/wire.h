#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>

namespace baton::wire {

class Envelope;  // common/cluster/wire.pb.h

/// Version that Register and Welcome carry. A release talks to the one before it.
inline constexpr unsigned kProtocolVersion = 1;

/// The frame for `envelope`.
[[nodiscard]] std::string Encode(const Envelope& envelope);
/// InvalidArgument where `frame` is no Envelope or has no body.
[[nodiscard]] absl::Status Decode(std::string_view frame, Envelope& out);

}  // namespace baton::wire
