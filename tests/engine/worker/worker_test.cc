#include "engine/worker/worker.h"

#include <fstream>
#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "common/metrics/registry.h"
#include "engine/worker/metrics_listener.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::engine {
namespace {

/// A phase that has nothing to do.
class IdleService final : public PhaseService {
 public:
  void OnOrder(const wire::Envelope&) override {}
  void Cancel(RequestKey) override {}
  void CancelAll() override {}
  void OnLayerDone(const LayerEvent&) override {}
  void OnToken(const TokenEvent&) override {}
  void OnExecutorReleased(RequestKey, FinishReason) override {}
  [[nodiscard]] ServiceLoad Load() const override { return {}; }
  [[nodiscard]] std::int64_t InFlight() const override { return 0; }
};

/// The exit code of a worker that must not get as far as its service.
int ExitCode(const std::string& yaml) {
  const test::TemporaryFolder folder;
  const std::string path = folder.Path() + "/worker.yaml";
  std::ofstream(path) << yaml;
  std::string program = "baton-test";
  std::string option = "--config";
  std::string file = path;
  char* argv[] = {program.data(), option.data(), file.data(), nullptr};
  return RunWorker({.program = {.name = program, .summary = "A worker.", .examples = "none"},
                    .prefill = true,
                    .create = [](const ServiceContext&) -> std::unique_ptr<PhaseService> {
                      return std::make_unique<IdleService>();
                    }},
                   3, argv);
}

std::string Yaml(const std::string& model, std::uint16_t metrics_port) {
  return fmt::format(
      "name: w\nmodel: {}\nrouter: \"127.0.0.1:9\"\nmetrics: {{listen: \"127.0.0.1:{}\"}}\n"
      "compute: {{threads: 1}}\nkv: {{memory: 1MiB}}\ntransfer: {{transport: loopback}}\n",
      model, metrics_port);
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

}  // namespace
}  // namespace baton::engine
