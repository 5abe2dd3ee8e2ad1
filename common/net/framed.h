#pragma once

#include <functional>
#include <memory>
#include <string>

#include <absl/status/status.h>

#include "common/net/connection.h"
#include "common/net/handshake.h"
#include "common/net/io.h"

/// What connecting and listening share. Private to this module's sources.
namespace baton::net {

using Tcp = boost::asio::ip::tcp;

/// A connection over a socket whose handshake is done.
[[nodiscard]] std::unique_ptr<Connection> MakeConnection(EventLoop& loop, Tcp::socket socket,
                                                         const ConnectionOptions& options);

/// Shakes hands over `socket`; `done` runs once. To give up early, close the socket: `done` then gets
/// Cancelled.
void ShakeHands(std::shared_ptr<Tcp::socket> socket, HandshakeRole role, const std::string& cluster_key,
                std::function<void(absl::Status)> done);

/// "10.0.0.2:7001", or "?" where the socket is not connected.
[[nodiscard]] std::string PeerName(const Tcp::socket& socket);

}  // namespace baton::net
