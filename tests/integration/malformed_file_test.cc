#include <sys/stat.h>

#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "common/json/value.h"
#include "tests/integration/cluster.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::test {
namespace {

bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// A copy of the demo model, to be damaged.
class DamagedModel {
 public:
  DamagedModel() { std::filesystem::copy(ProjectFile("deploy/demo-model"), Path()); }
  [[nodiscard]] std::string Path() const { return folder_.Path() + "/model"; }
  [[nodiscard]] std::string Weights() const { return Path() + "/model.safetensors"; }

  /// Replaces `from` in the header by `to`, padded to keep the header's length; fails the test where it is
  /// not there.
  void EditHeader(const std::string& from, std::string to) {
    std::string bytes = ReadFile(Weights());
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    const std::size_t at = bytes.substr(8, length).find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(to.size() <= from.size());
    to.resize(from.size(), ' ');
    bytes.replace(8 + at, from.size(), to);
    WriteFile(Weights(), bytes);
  }

 private:
  TemporaryFolder folder_;
};

/// What a worker says of a model, and its exit code.
RunResult RunWorker(const std::string& program, const std::string& model) {
  const TemporaryFolder folder;
  WriteFile(folder.Path() + "/worker.yaml",
            fmt::format("name: w\nmodel: {}\nmodel_name: m\nrouter: \"127.0.0.1:1\"\n"
                        "peer: {{listen: \"127.0.0.1:0\"}}\nmetrics: {{listen: \"127.0.0.1:0\"}}\n"
                        "compute: {{class: f32, threads: 1}}\nkv: {{memory: 16MiB}}\n",
                        model));
  return RunToEnd({Program(program), "--config", folder.Path() + "/worker.yaml"});
}

void RequireRefused(const DamagedModel& model, std::string_view part) {
  for (const char* program : {"prefill", "decode"}) {
    const RunResult result = RunWorker(program, model.Path());
    INFO(program << ": " << result.output);
    CHECK(result.exit == 78);
    CHECK(Contains(result.output, "model.safetensors"));
    CHECK(Contains(result.output, part));
  }
}

}  // namespace

TEST_CASE("a truncated checkpoint stops a worker with a message that names file and tensor") {
  DamagedModel model;
  std::filesystem::resize_file(model.Weights(), std::filesystem::file_size(model.Weights()) - 1000);
  RequireRefused(model, "model.");  // every tensor's name begins so
}

TEST_CASE("a checkpoint cut inside its header stops a worker") {
  DamagedModel model;
  std::filesystem::resize_file(model.Weights(), 100);
  RequireRefused(model, "header");
}

TEST_CASE("a tensor of the wrong shape stops a worker with a message that names it") {
  DamagedModel model;
  const auto config = json::Parse(ReadFile(model.Path() + "/config.json"));
  REQUIRE(config.ok());
  // The same number of elements, so that the header itself is sound.
  model.EditHeader("[256,768]", "[768,256]");
  RequireRefused(model, "down_proj");
}

TEST_CASE(
    "a header that promises more than the file holds stops a worker with a message that names the tensor") {
  DamagedModel model;
  model.EditHeader("[256,768]", "[956,768]");
  RequireRefused(model, "down_proj");
}

TEST_CASE("every error of a configuration is reported with its place, and the exit code is 78") {
  const TemporaryFolder folder;
  const std::string path = folder.Path() + "/bad.yaml";
  WriteFile(
      path,
      "model: 7\nlog_level: loud\nhttp: {listen: \"nowhere\"}\nmetrics: {listen: 12}\nunknown_key: 1\n");

  for (const char* program : {"router", "prefill", "decode"}) {
    for (const bool check : {true, false}) {
      std::vector<std::string> command = {Program(program), "--config", path};
      if (check) command.emplace_back("--check-config");
      const RunResult result = RunToEnd(command);
      INFO(program << (check ? " --check-config: " : ": ") << result.output);
      CHECK(result.exit == 78);
      CHECK(Contains(result.output, "bad.yaml:2:"));
      CHECK(Contains(result.output, "log_level"));
      CHECK(Contains(result.output, "bad.yaml:5:"));
      CHECK(Contains(result.output, "unknown_key"));
    }
  }
}

TEST_CASE("a file that is missing or no YAML is a configuration error") {
  const TemporaryFolder folder;
  const std::string path = folder.Path() + "/broken.yaml";
  WriteFile(path, "model: [1, 2\n  x: }\n");

  for (const char* program : {"router", "prefill", "decode"}) {
    INFO(program);
    CHECK(RunToEnd({Program(program), "--check-config", "--config", path}).exit == 78);
    CHECK(RunToEnd({Program(program), "--config", folder.Path() + "/absent.yaml"}).exit == 78);
  }
}

TEST_CASE("a sound configuration is called OK without starting anything") {
  const TemporaryFolder folder;
  const std::string model = ProjectFile("deploy/demo-model");
  WriteFile(folder.Path() + "/router.yaml", "model: " + model + "\n");
  WriteFile(folder.Path() + "/worker.yaml", "name: w\nmodel: " + model + "\nrouter: \"127.0.0.1:7000\"\n");

  for (const char* program : {"router", "prefill", "decode"}) {
    const std::string path =
        folder.Path() + (std::strcmp(program, "router") == 0 ? "/router.yaml" : "/worker.yaml");
    const RunResult result = RunToEnd({Program(program), "--config", path, "--check-config"});
    INFO(program << ": " << result.output);
    CHECK(result.exit == 0);
    CHECK(Contains(result.output, path + ": OK"));
  }
}

TEST_CASE("a worker that is to compute on a GPU names what is missing, or the GPU") {
  const TemporaryFolder folder;
  const std::string path = folder.Path() + "/worker.yaml";
  WriteFile(path, "name: w\nmodel: " + ProjectFile("deploy/demo-model") +
                      "\nrouter: \"127.0.0.1:7000\"\ncompute: {backend: cuda}\n");

  for (const char* program : {"prefill", "decode"}) {
    const RunResult result = RunToEnd({Program(program), "--config", path, "--check-config"});
    INFO(program << ": " << result.output);
    CHECK((result.exit == 78 || result.exit == 0));
    CHECK(Contains(result.output,
                   result.exit == 0 ? "computes on the GPU: GPU 0" : "compute.backend is cuda: "));
  }
}

TEST_CASE("every daemon has help, a version, and an exit code for wrong usage") {
  for (const char* program : {"router", "prefill", "decode"}) {
    INFO(program);
    const RunResult help = RunToEnd({Program(program), "--help"});
    CHECK(help.exit == 0);
    CHECK(Contains(help.output, "--check-config"));
    CHECK(RunToEnd({Program(program), "--version"}).exit == 0);
    CHECK(RunToEnd({Program(program), "--no-such-flag"}).exit == 2);
    CHECK(RunToEnd({Program(program)}).exit == 2);
  }
}

}  // namespace baton::test
