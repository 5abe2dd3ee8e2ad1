#include "engine/worker/worker.h"

#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/daemon/files.h"
#include "common/daemon/notify.h"
#include "common/daemon/signals.h"
#include "common/net/event_loop.h"
#include "engine/worker/config.h"

namespace baton::engine {
namespace {

int Fail(const PhaseDefinition& phase, const absl::Status& status, int code) {
  fmt::print(stderr, "{}: {}\n", phase.program.name, Message(status));
  return code;
}

/// A port that is taken may be free at the next start; a configuration or a model that is refused stays so.
int StartFailure(const absl::Status& status) {
  return status.code() == kUnavailable ? daemon::kExitFailure : daemon::kExitConfig;
}

/// Tells the service manager as often as it wants to know that the control loop turns, unless the engine
/// hangs: then it starts the worker anew, and the router resumes its answers elsewhere.
class Watchdog {
 public:
  Watchdog(net::EventLoop& loop, const daemon::Notifier& notifier, const WorkerRuntime& runtime)
      : loop_(loop), notifier_(notifier), runtime_(runtime), period_(daemon::WatchdogPeriod()) {
    if (period_) Tell();
  }

 private:
  void Tell() {
    const bool hangs = runtime_.EngineHangs();
    if (hangs != std::exchange(hung_, hangs))
      static_cast<void>(notifier_.Status(hangs ? "the engine hangs in a step" : "the engine goes on"));
    if (!hangs) static_cast<void>(notifier_.Watchdog());
    timer_ = loop_.After(*period_ / 2, [this] { Tell(); });
  }

  net::EventLoop& loop_;
  const daemon::Notifier& notifier_;
  const WorkerRuntime& runtime_;
  const std::optional<Duration> period_;  // nothing: no manager asks
  bool hung_ = false;
  net::Timer timer_;
};

/// Runs until a signal or the router ends it: the first signal drains, the second ends at once, whether the
/// router had asked for the drain before or not.
int Serve(const PhaseDefinition& phase, const WorkerConfig& config, const daemon::Notifier& notifier) {
  static_cast<void>(notifier.Status("loading the model"));
  net::EventLoop loop;
  absl::StatusOr<std::unique_ptr<WorkerRuntime>> runtime =
      WorkerRuntime::Create(loop, config, phase.prefill, phase.create, phase.open);
  if (!runtime.ok()) return Fail(phase, runtime.status(), StartFailure(runtime.status()));
  const WorkerRuntime::Ports ports = (*runtime)->GetPorts();
  if (const absl::Status written =
          daemon::WritePortsFile(config.ports_file, {{"peer", ports.peer}, {"metrics", ports.metrics}});
      !written.ok()) {
    return Fail(phase, written, daemon::kExitFailure);
  }
  bool draining = false;
  bool signalled = false;
  const auto drain = [&] {
    static_cast<void>(notifier.Stopping("draining", config.drain_timeout));
    if (!std::exchange(draining, true)) (*runtime)->Drain([&loop] { loop.Stop(); });
  };
  {
    const daemon::SignalWatcher signals([&](int signal) {
      if (signal == SIGHUP) return;  // nothing is reloaded yet
      loop.Post([&] { std::exchange(signalled, true) ? (*runtime)->Abort() : drain(); });
    });
    (*runtime)->OnDrainOrder([&] { loop.Post(drain); });
    (*runtime)->Start();
    static_cast<void>(notifier.Ready(fmt::format("peer port {}", ports.peer)));
    const Watchdog watchdog(loop, notifier, **runtime);
    LogInfo("worker_started", {{"name", config.name}, {"peer", ports.peer}, {"metrics", ports.metrics}});
    loop.Run();
  }
  runtime->reset();
  LogInfo("worker_stopped");
  return daemon::kExitOk;
}

}  // namespace

int RunWorker(const PhaseDefinition& phase, int argc, char** argv) {
  daemon::BlockSignals();
  const daemon::Options options = daemon::ParseOrExit(phase.program, argc, argv);
  const absl::StatusOr<WorkerConfig> config = ReadWorkerConfig(options.config_path);
  if (!config.ok()) return Fail(phase, config.status(), daemon::kExitConfig);
  if (options.check_config) {
    const auto backend = ChooseBackend(config->device, Demand(*config));
    if (!backend.ok()) {
      fmt::print(stderr, "{}: {}\n", options.config_path, Message(backend.status()));
      return daemon::kExitConfig;
    }
    fmt::print("{}: OK\ncomputes on the {}: {}\n", options.config_path, backend->cuda ? "GPU" : "CPU",
               backend->why);
    return daemon::kExitOk;
  }
  absl::StatusOr<daemon::Notifier> notifier = daemon::Notifier::FromEnvironment();
  if (!notifier.ok()) return Fail(phase, notifier.status(), daemon::kExitFailure);
  InitLogging(phase.program.name, config->log_level);
  return Serve(phase, *config, *notifier);
}

}  // namespace baton::engine
