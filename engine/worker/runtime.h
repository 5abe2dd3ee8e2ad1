#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <absl/status/statusor.h>

#include "common/net/event_loop.h"
#include "engine/worker/config.h"
#include "engine/worker/service.h"

namespace baton::engine {

/// Everything that a worker is made of, put together: backend, model, KV arena, hand-off, executor, one
/// phase's service, the connection with the router, metrics. Control loop only.
class WorkerRuntime {
 public:
  struct Ports {
    std::uint16_t peer = 0;
    std::uint16_t metrics = 0;
  };
  /// What it computes on, where that is not for the configuration to say: tests.
  using OpenDevices = std::function<absl::StatusOr<OpenedDevices>()>;
  using CreateService = std::function<std::unique_ptr<PhaseService>(const ServiceContext&)>;

  /// Loads the model, allocates the arena, runs a self-test step, listens. Errors name file, field or port.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<WorkerRuntime>> Create(net::EventLoop& loop,
                                                                             const WorkerConfig& config,
                                                                             bool prefill,
                                                                             const CreateService& create,
                                                                             OpenDevices open = {});
  virtual ~WorkerRuntime() = default;
  [[nodiscard]] virtual Ports GetPorts() const = 0;
  /// Dials the router.
  virtual void Start() = 0;
  /// Takes nothing new, finishes what runs within drain_timeout, then calls `done`.
  virtual void Drain(std::function<void()> done) = 0;
  /// Called when the router asks this worker to leave; it is to `Drain` then.
  virtual void OnDrainOrder(std::function<void()> leave) = 0;
  /// Cancels what runs; a drain under way then ends.
  virtual void Abort() = 0;
  /// A step takes longer than engine_timeout: this worker takes nothing new until it ends.
  [[nodiscard]] virtual bool EngineHangs() const = 0;
};

}  // namespace baton::engine
