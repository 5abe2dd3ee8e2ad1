#include "common/daemon/options.h"

#include <vector>

#include <catch2/catch.hpp>

namespace baton::daemon {
namespace {

CommandLine Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "baton-test");
  return ParseCommandLine(
      {.name = "baton-test", .summary = "Tests things.", .examples = "  baton-test --config test.yaml"},
      static_cast<int>(arguments.size()), arguments.data());
}

TEST_CASE("a configuration file is what a daemon needs to run") {
  const CommandLine line = Parse({"--config", "a.yaml"});

  REQUIRE(line.options);
  CHECK(line.options->config_path == "a.yaml");
  CHECK_FALSE(line.options->check_config);
  CHECK(Parse({"--config=b.yaml", "--check-config"}).options->check_config);
}

TEST_CASE("help explains every option and shows the examples") {
  const CommandLine line = Parse({"--help"});

  CHECK_FALSE(line.options);
  CHECK(line.exit_code == kExitOk);
  for (const char* text : {"Tests things.", "--config FILE", "--check-config", "--version",
                           "Examples:", "  baton-test --config test.yaml"}) {
    CHECK_THAT(line.output, Catch::Contains(text));
  }
}

TEST_CASE("the version names the program") {
  const CommandLine line = Parse({"--version"});

  CHECK(line.exit_code == kExitOk);
  CHECK(line.output == "baton-test " + std::string(Version()) + "\n");
  CHECK_THAT(std::string(Version()), Catch::Matches("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST_CASE("a wrong command line is a usage error that says why") {
  for (const std::vector<const char*>& arguments : {std::vector<const char*>{},
                                                    {"--config"},
                                                    {"--confg", "a"},
                                                    {"--config", "a", "b"},
                                                    {"--check-config"}}) {
    const CommandLine line = Parse(arguments);

    CHECK_FALSE(line.options);
    CHECK(line.exit_code == kExitUsage);
    CHECK_THAT(line.output, Catch::Contains("--help"));
  }
  CHECK_THAT(Parse({}).output, Catch::Contains("--config is required"));
}

}  // namespace
}  // namespace baton::daemon
