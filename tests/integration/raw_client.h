#pragma once

#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/net/connection.h"

namespace baton::test {

/// Connects, sends `bytes` as they are, and reads what comes until the other side closes or `patience` has
/// passed.
[[nodiscard]] std::string SendRaw(const net::Address& address, std::string_view bytes, Duration patience);

}  // namespace baton::test
