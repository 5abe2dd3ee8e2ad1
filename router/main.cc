#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <csignal>
#include <cstdio>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/daemon/files.h"
#include "common/daemon/notify.h"
#include "common/daemon/options.h"
#include "common/daemon/signals.h"
#include "common/net/event_loop.h"
#include "router/config.h"
#include "router/router.h"

namespace {

using namespace baton;

const daemon::Program kProgram{.name = "baton-router",
                               .summary = "The front door of a Baton cluster: an OpenAI-compatible HTTP API.",
                               .examples =
                                   "baton-router --config deploy/examples/router.yaml\n"
                                   "baton-router --config router.yaml --check-config"};

int Fail(const absl::Status& status, int code) {
  fmt::print(stderr, "baton-router: {}\n", Message(status));
  return code;
}

/// Runs until a signal ends it: the first drains, the second aborts what still runs.
int Serve(const router::RouterConfig& config, const daemon::Notifier& notifier) {
  net::EventLoop loop;
  absl::StatusOr<std::unique_ptr<router::Router>> router = router::Router::Start(loop, config);
  if (!router.ok()) return Fail(router.status(), daemon::kExitFailure);
  const router::Router::Ports ports = (*router)->GetPorts();
  if (const absl::Status status = daemon::WritePortsFile(config.ports_file, {{"http", ports.http},
                                                                             {"control", ports.control},
                                                                             {"metrics", ports.metrics},
                                                                             {"admin", ports.admin}});
      !status.ok()) {
    return Fail(status, daemon::kExitFailure);
  }
  bool draining = false;
  {
    const daemon::SignalWatcher signals([&](int signal) {
      if (signal == SIGHUP) return;  // nothing is reloaded yet
      loop.Post([&] {
        if (std::exchange(draining, true)) return (*router)->Abort();
        static_cast<void>(notifier.Stopping("draining", config.request_timeout));
        (*router)->Drain([&loop] { loop.Stop(); });
      });
    });
    static_cast<void>(notifier.Ready(fmt::format("http port {}", ports.http)));
    net::Timer watchdog;
    std::function<void()> tell_alive;
    if (const std::optional<Duration> period = daemon::WatchdogPeriod()) {
      tell_alive = [&, pause = *period / 2] {
        static_cast<void>(notifier.Watchdog());
        watchdog = loop.After(pause, [&] { tell_alive(); });
      };
      tell_alive();
    }
    LogInfo("router_started", {{"http", ports.http}, {"control", ports.control}});
    loop.Run();
  }
  router->reset();
  LogInfo("router_stopped");
  return daemon::kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  daemon::BlockSignals();
  const daemon::Options options = daemon::ParseOrExit(kProgram, argc, argv);
  const absl::StatusOr<router::RouterConfig> config = router::ReadRouterConfig(options.config_path);
  if (!config.ok()) return Fail(config.status(), daemon::kExitConfig);
  if (options.check_config) {
    fmt::print("{}: OK\n", options.config_path);
    return daemon::kExitOk;
  }
  absl::StatusOr<daemon::Notifier> notifier = daemon::Notifier::FromEnvironment();
  if (!notifier.ok()) return Fail(notifier.status(), daemon::kExitFailure);
  InitLogging(kProgram.name, config->log_level);
  return Serve(*config, *notifier);
}
