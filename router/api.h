#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/metrics/registry.h"
#include "common/net/http_server.h"
#include "router/dispatcher.h"
#include "router/http/request.h"
#include "router/model_info.h"
#include "router/probe.h"

namespace baton::router {

/// The HTTP face: routes, checks and tokenizes on the server's threads, and hands jobs to the control loop.
/// Thread-safe; outlives the server.
class Api {
 public:
  /// How the API reaches the control loop.
  struct Control {
    std::function<void(Job)> submit;
    std::function<void(RequestId)> client_gone;
    /// Calls back, on the loop, with why the router is not ready, or nothing.
    std::function<void(std::function<void(std::optional<Refusal>)>)> ask_ready;
    /// Asks the worker of this name to leave; calls back, on the loop, with whether there is one.
    std::function<void(std::string name, std::function<void(bool)>)> drain_worker;
  };
  struct Options {
    RequestLimits limits;
    Duration request_timeout = std::chrono::seconds(300);
    std::string version;
  };
  Api(const ModelInfo& model, const Clock& clock, const metrics::Registry& metrics, Probe& probe,
      Control control, Options options);

  /// What a listener shows: all that clients use, what those who watch need, or that and what operators do.
  enum class Surface { kAll, kMetrics, kAdmin };
  void Handle(Surface surface, net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder);
  /// The context that clients may use: the model's, or less where a worker offers less.
  void SetContextTokens(std::int64_t tokens) { context_tokens_ = tokens; }
  /// The error body of what the server itself refuses.
  [[nodiscard]] static std::string ErrorBodyOfServer(int status, std::string_view code,
                                                     std::string_view message);

 private:
  void Generate(Endpoint endpoint, const net::HttpRequest& request,
                std::shared_ptr<net::HttpResponder> responder);
  void Get(const std::string& path, std::shared_ptr<net::HttpResponder> responder, net::HttpHeaders headers);
  void DrainWorker(const std::string& name, std::shared_ptr<net::HttpResponder> responder,
                   net::HttpHeaders headers);
  void SendReady(std::shared_ptr<net::HttpResponder> responder, net::HttpHeaders headers);
  [[nodiscard]] ModelEntry Entry() const;
  [[nodiscard]] RequestId NextId();

  const ModelInfo& model_;
  const Clock& clock_;
  const metrics::Registry& metrics_;
  Probe& probe_;
  const Control control_;
  const Options options_;
  const std::int64_t started_at_;  // Unix seconds
  std::atomic<std::int64_t> context_tokens_;
  std::atomic<std::uint64_t> next_id_;
};

}  // namespace baton::router
