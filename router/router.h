#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "common/net/event_loop.h"
#include "router/config.h"

namespace baton::router {

/// The router, whole: workers on one side, clients on the other. Made, used and destroyed on the thread of
/// `loop` (or before it runs). The HTTP threads are inside.
class Router {
 public:
  struct Ports {
    std::uint16_t http = 0;
    std::uint16_t control = 0;
    std::uint16_t metrics = 0;  // 0 where there is no listener of its own
    std::uint16_t admin = 0;    // 0 where there is none
  };
  /// Loads the model's text parts and listens.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Router>> Start(net::EventLoop& loop,
                                                                     const RouterConfig& config);
  virtual ~Router() = default;
  [[nodiscard]] virtual Ports GetPorts() const = 0;
  /// Refuses what is new, lets what runs finish, then calls `done` on the loop.
  virtual void Drain(std::function<void()> done) = 0;
  /// Ends what still runs, each with its error; a drain is done thereafter.
  virtual void Abort() = 0;
};

}  // namespace baton::router
