#include "engine/worker/worker.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "common/daemon/signals.h"
#include "common/metrics/registry.h"
#include "engine/worker/metrics_listener.h"
#include "tests/common/daemon/service_manager.h"
#include "tests/engine/worker/scripted_router.h"
#include "tests/support/gated_backend.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

/// What a test sees of a worker's service, and may do to its steps.
struct Inside {
  bool busy = false;  // one request is there, and never ends by itself
  net::Watched<bool> cancelled;
  net::Watched<bool> open{true};  // steps go through
};

/// Computes two tokens for whatever is ordered.
class SmallService final : public PhaseService {
 public:
  SmallService(const ServiceContext& context, Inside& inside) : context_(context), inside_(inside) {}
  void OnOrder(const wire::Envelope&) override {
    SequenceSpec spec{.key = {RequestId(1), Attempt(1)}, .tokens = {1, 2, 3}, .stop = {.max_tokens = 2}};
    spec.blocks = *context_.pool.Allocate(1);
    context_.executor.Submit(std::move(spec));
  }
  void Cancel(RequestKey) override {}
  void CancelAll() override {
    inside_.busy = false;
    inside_.cancelled.Set(true);
  }
  void OnLayerDone(const LayerEvent&) override {}
  void OnToken(const TokenEvent&) override {}
  void OnExecutorReleased(RequestKey, FinishReason) override {}
  [[nodiscard]] ServiceLoad Load() const override { return {}; }
  [[nodiscard]] std::int64_t InFlight() const override { return inside_.busy ? 1 : 0; }

 private:
  const ServiceContext context_;
  Inside& inside_;
};

/// Runs a worker to its end; its exit code.
int ExitCode(const std::string& yaml, Inside& inside) {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/worker.yaml";
  std::ofstream(path) << yaml;
  std::string program = "baton-test";
  std::string option = "--config";
  std::string file = path;
  char* argv[] = {program.data(), option.data(), file.data(), nullptr};
  const auto before_step = [&] {
    static_cast<void>(inside.open.WaitFor([](bool is_open) { return is_open; }));
  };
  return RunWorker({.program = {.name = program, .summary = "A worker.", .examples = "none"},
                    .prefill = true,
                    .create = [&](const ServiceContext& context) -> std::unique_ptr<PhaseService> {
                      return std::make_unique<SmallService>(context, inside);
                    },
                    .open = [&]() -> absl::StatusOr<OpenedDevices> {
                      OpenedDevices devices;
                      devices.ranks.push_back(std::make_unique<test::GatedBackend>(
                          *kernels::CreateCpuBackend({.threads = 1}), before_step));
                      return devices;
                    }},
                   3, argv);
}

/// Of a worker that must not get as far as its service.
int ExitCode(const std::string& yaml) {
  Inside inside;
  return ExitCode(yaml, inside);
}

std::string Yaml(const std::string& model, std::uint16_t metrics_port,
                 const std::string& router = "127.0.0.1:9") {
  return fmt::format(
      "name: w\nmodel: {}\nrouter: \"{}\"\nmetrics: {{listen: \"127.0.0.1:{}\"}}\n"
      "compute: {{threads: 1}}\nkv: {{memory: 1MiB}}\ntransfer: {{transport: loopback}}\n",
      model, router, metrics_port);
}

TEST_CASE("a configuration or a model that is refused exits as a configuration error: no restart helps") {
  CHECK(ExitCode("nam: w\n") == daemon::kExitConfig);
  CHECK(ExitCode(Yaml("/nonexistent", 0)) == daemon::kExitConfig);
}

TEST_CASE("a port that is taken exits as a failure: a restart may help") {
  const metrics::Registry registry;
  const auto taken = MetricsListener::Start({"127.0.0.1", 0}, registry);
  REQUIRE(taken.ok());

  CHECK(ExitCode(Yaml(test::ProjectFile("deploy/demo-model"), (*taken)->Port())) == daemon::kExitFailure);
}

/// A worker on a thread of its own, before a service manager and a router that the test plays.
struct ManagedWorker {
  explicit ManagedWorker(bool busy, const std::string& more = "") {
    inside.busy = busy;
    setenv("NOTIFY_SOCKET", socket.c_str(), 1);
    const std::string yaml = Yaml(test::ProjectFile("deploy/demo-model"), 0, router.Address().ToString());
    thread = std::thread([this, yaml = yaml + more] { code = ExitCode(yaml, inside); });
    WaitFor("READY=1");
    REQUIRE(router.WaitFor(1, [](const wire::Envelope& e) { return e.has_load(); }));
  }
  /// How many others the manager heard before.
  std::map<std::string, int> WaitFor(const std::string& wanted) {
    std::map<std::string, int> before;
    for (;;) {
      const std::string message = manager.Receive();
      if (message.starts_with(wanted)) return before;
      ++before[message];
    }
  }
  static void Signal() { REQUIRE(kill(getpid(), SIGTERM) == 0); }

  // Before there are threads: one that did not block the signals would end the process.
  const bool blocked = (daemon::BlockSignals(), true);
  const std::string socket = "@baton-worker-test-" + std::to_string(getpid());
  daemon::Manager manager{socket};
  ScriptedRouter router;
  Inside inside;
  int code = -1;
  std::thread thread;
};

TEST_CASE("a signal that comes while the router's drain is under way cancels nothing; a second one does") {
  ManagedWorker worker(/*busy=*/true);
  wire::Envelope drain;
  drain.mutable_drain();
  worker.router.Send(1, drain);
  worker.WaitFor("STOPPING=1");

  ManagedWorker::Signal();

  worker.WaitFor("STOPPING=1");  // the manager is asked for the drain's time again, from its own stop on
  worker.router.Send(1, drain);
  worker.WaitFor("STOPPING=1");  // whatever the signal has set off is done
  CHECK_FALSE(worker.inside.cancelled.Get());
  ManagedWorker::Signal();
  worker.thread.join();
  CHECK(worker.inside.cancelled.Get());
  CHECK(worker.code == daemon::kExitOk);
}

TEST_CASE("a manager that watches hears that the worker is alive, and no more where its engine hangs") {
  setenv("WATCHDOG_USEC", "10000", 1);
  ManagedWorker worker(/*busy=*/false, "engine_timeout: 200ms\n");
  for (int i = 0; i < 3; ++i) worker.WaitFor("WATCHDOG=1");

  worker.inside.open.Set(false);
  wire::Envelope order;
  order.mutable_prefill();
  worker.router.Send(1, order);
  worker.WaitFor("STATUS=the engine hangs");
  // Some heartbeats of 20 ms later it would have said so many times.
  const std::size_t heard = worker.router.heard.Get().size();
  REQUIRE(worker.router.heard.WaitFor([&](const auto& all) { return all.size() >= heard + 5; }));
  worker.inside.open.Set(true);

  CHECK(worker.WaitFor("STATUS=the engine goes on").empty());
  worker.WaitFor("WATCHDOG=1");
  ManagedWorker::Signal();
  worker.thread.join();
  unsetenv("WATCHDOG_USEC");
  CHECK(worker.code == daemon::kExitOk);
}

}  // namespace
}  // namespace baton::engine
