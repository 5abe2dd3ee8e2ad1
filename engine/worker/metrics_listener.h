#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include <absl/status/statusor.h>

#include "common/metrics/registry.h"
#include "common/net/http_server.h"

namespace baton::engine {

/// A worker's own HTTP listener: GET /metrics, /health (200 while the process serves), /ready (503 where it
/// takes no requests).
class MetricsListener {
 public:
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MetricsListener>> Start(
      const net::Address& address, const metrics::Registry& registry);
  [[nodiscard]] std::uint16_t Port() const { return server_->Port(); }
  void SetReady(bool ready) { ready_.store(ready); }

 private:
  void Handle(const net::HttpRequest& request, net::HttpResponder& responder) const;

  const metrics::Registry* registry_ = nullptr;
  std::atomic<bool> ready_{false};
  std::unique_ptr<net::HttpServer> server_;  // last: it calls Handle until it is gone
};

}  // namespace baton::engine
