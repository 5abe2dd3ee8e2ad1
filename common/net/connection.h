#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "common/net/event_loop.h"

namespace baton::net {

/// "10.0.0.2:7001", "[::1]:7001", "localhost:0".
struct Address {
  std::string host = {};
  std::uint16_t port = 0;
  [[nodiscard]] static absl::StatusOr<Address> Parse(std::string_view text);
  [[nodiscard]] std::string ToString() const;
  [[nodiscard]] bool IsLoopback() const;
};

struct ConnectionOptions {
  /// Both ends prove that they know it before any frame is accepted (HMAC-SHA256 over fresh nonces of both).
  /// Empty is a key like any other: it keeps strangers with a key out, but proves nothing.
  std::string cluster_key = {};
  std::size_t frame_bytes_max = 16U << 20;   // a longer one closes the connection
  std::size_t queued_bytes_max = 64U << 20;  // unsent; past it Send refuses
  Duration handshake_timeout = std::chrono::seconds(5);
};

/// A connection that carries frames (u32 little-endian length, then that many bytes) both ways, in order,
/// after the handshake. Loop thread only. Destroying it closes it, and no handler runs afterwards.
class Connection {
 public:
  struct Handlers {
    std::function<void(std::string_view frame)> on_frame = {};
    /// Once, unless `Close` was called: the peer went away, or broke the rules. May destroy the connection.
    std::function<void(const absl::Status& why)> on_close = {};
  };
  virtual ~Connection() = default;
  /// Begins to read. Frames that came earlier wait for this.
  virtual void Start(Handlers handlers) = 0;
  /// Queues a frame. ResourceExhausted where the queue is full; Unavailable where the connection is closed.
  [[nodiscard]] virtual absl::Status Send(std::string_view frame) = 0;
  /// Sends what is queued (for at most `linger`), then closes. `on_close` is not called.
  virtual void Close(Duration linger = std::chrono::seconds(1)) = 0;
  [[nodiscard]] virtual std::string PeerAddress() const = 0;
};

using OnConnection = std::function<void(absl::StatusOr<std::unique_ptr<Connection>>)>;

/// Connects and shakes hands; `done` runs on the loop, always asynchronously, exactly once, within `timeout`.
/// Destroying the returned handle cancels: `done` then never runs.
class PendingConnect {
 public:
  virtual ~PendingConnect() = default;
};
[[nodiscard]] std::unique_ptr<PendingConnect> Connect(EventLoop& loop, const Address& address,
                                                      const ConnectionOptions& options, Duration timeout,
                                                      OnConnection done);

/// Accepts connections whose handshake succeeds; others are closed and counted.
class Listener {
 public:
  virtual ~Listener() = default;
  [[nodiscard]] virtual std::uint16_t Port() const = 0;
  /// Connections refused because the peer did not know the cluster key or spoke another protocol.
  [[nodiscard]] virtual std::uint64_t RefusedHandshakes() const = 0;
};
[[nodiscard]] absl::StatusOr<std::unique_ptr<Listener>> Listen(
    EventLoop& loop, const Address& address, const ConnectionOptions& options,
    std::function<void(std::unique_ptr<Connection>)> on_accept);

}  // namespace baton::net
