#pragma once

#include <absl/status/statusor.h>

#include "common/base/clock.h"
#include "common/net/connection.h"
#include "common/net/io.h"

/// What both servers of this module need to accept connections. Private to this module's sources.
namespace baton::net {

// Descriptors come back when connections end; ten tries a second cost nothing.
inline constexpr Duration kAcceptBackOff = std::chrono::milliseconds(100);

/// A socket that listens on `address`; resolves a host name and waits for it, so for the start of a program
/// only.
[[nodiscard]] absl::StatusOr<boost::asio::ip::tcp::acceptor> OpenAcceptor(boost::asio::io_context& context,
                                                                          const Address& address);

/// The process or the system has no descriptor or memory left: trying again at once would spin.
[[nodiscard]] bool IsOutOfDescriptors(const boost::system::error_code& error);

}  // namespace baton::net
