#include "engine/worker/worker.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "common/daemon/signals.h"
#include "common/metrics/registry.h"
#include "engine/worker/metrics_listener.h"
#include "tests/common/daemon/service_manager.h"
#include "tests/engine/worker/scripted_router.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

/// A phase with one request that never ends by itself, or with none.
class FixedService final : public PhaseService {
 public:
  FixedService(bool busy, net::Watched<bool>& cancelled) : busy_(busy), cancelled_(cancelled) {}
  void OnOrder(const wire::Envelope&) override {}
  void Cancel(RequestKey) override {}
  void CancelAll() override {
    busy_ = false;
    cancelled_.Set(true);
  }
  void OnLayerDone(const LayerEvent&) override {}
  void OnToken(const TokenEvent&) override {}
  void OnExecutorReleased(RequestKey, FinishReason) override {}
  [[nodiscard]] ServiceLoad Load() const override { return {}; }
  [[nodiscard]] std::int64_t InFlight() const override { return busy_ ? 1 : 0; }

 private:
  bool busy_;
  net::Watched<bool>& cancelled_;
};

/// Runs a worker to its end; its exit code.
int ExitCode(const std::string& yaml, bool busy, net::Watched<bool>& cancelled) {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/worker.yaml";
  std::ofstream(path) << yaml;
  std::string program = "baton-test";
  std::string option = "--config";
  std::string file = path;
  char* argv[] = {program.data(), option.data(), file.data(), nullptr};
  return RunWorker({.program = {.name = program, .summary = "A worker.", .examples = "none"},
                    .prefill = true,
                    .create = [&](const ServiceContext&) -> std::unique_ptr<PhaseService> {
                      return std::make_unique<FixedService>(busy, cancelled);
                    }},
                   3, argv);
}

/// Of a worker that must not get as far as its service.
int ExitCode(const std::string& yaml) {
  net::Watched<bool> cancelled;
  return ExitCode(yaml, /*busy=*/false, cancelled);
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

TEST_CASE("a signal that comes while the router's drain is under way cancels nothing; a second one does") {
  daemon::BlockSignals();  // before there are threads: one that did not block them would end the process
  const std::string socket = "@baton-worker-test-" + std::to_string(getpid());
  daemon::Manager manager(socket);
  setenv("NOTIFY_SOCKET", socket.c_str(), 1);
  const auto wait_for = [&](const std::string& wanted) {
    while (!manager.Receive().starts_with(wanted)) {
    }
  };
  ScriptedRouter router;
  net::Watched<bool> cancelled;
  int code = -1;
  std::thread worker(
      [&, yaml = Yaml(test::ProjectFile("deploy/demo-model"), 0, router.Address().ToString())] {
        code = ExitCode(yaml, /*busy=*/true, cancelled);
      });
  wait_for("READY=1");
  REQUIRE(router.WaitFor(1, [](const wire::Envelope& e) { return e.has_load(); }));
  wire::Envelope drain;
  drain.mutable_drain();
  router.Send(1, drain);
  wait_for("STOPPING=1");

  REQUIRE(kill(getpid(), SIGTERM) == 0);

  wait_for("STOPPING=1");  // the manager is asked for the drain's time again, from its own stop on
  router.Send(1, drain);
  wait_for("STOPPING=1");  // whatever the signal has set off is done
  CHECK_FALSE(cancelled.Get());
  REQUIRE(kill(getpid(), SIGTERM) == 0);
  worker.join();
  CHECK(cancelled.Get());
  CHECK(code == daemon::kExitOk);
}

}  // namespace
}  // namespace baton::engine
