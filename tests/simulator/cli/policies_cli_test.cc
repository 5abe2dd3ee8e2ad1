#include <catch2/catch.hpp>

#include "tests/simulator/cli/baton_sim.h"

namespace baton::test {
namespace {

std::vector<std::string> Policies(std::vector<std::string> more) {
  std::vector<std::string> arguments{"policies",   "--fleet", "mixed=2xdgx-a100,mixed=2xdgx-h100",
                                     "--capacity", "5",       "--duration",
                                     "300",        "--loads", "50",
                                     "--seeds",    "1,2,3",   "--output",
                                     "csv"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("policies are compared seed by seed, and a saving that is asked for is an exit code") {
  const RunResult held = BatonSim(Policies({"--check", "5"}));
  CHECK(held.exit == 0);
  CHECK(Contains(held.output, "joules_saved_interval"));
  CHECK(Contains(held.output, "pack"));

  CHECK(BatonSim(Policies({"--check", "90"})).exit == 3);
  CHECK(BatonSim(Policies({"--jobs", "1", "--check", "5"})).output == held.output);
}

TEST_CASE("a policy that needs predictions says in which mode it is") {
  const RunResult result =
      BatonSim({"simulate", "--fleet", "mixed=1xdgx-h100", "--mode", "splitwise", "--model", "bloom-176b",
                "--rate", "1", "--duration", "5", "--policy", "pack"});
  CHECK(result.exit == 2);
  CHECK(Contains(result.output, "mode native"));
}

TEST_CASE("limits of requests and parking are checked") {
  const std::vector<std::string> load{"simulate",   "--fleet", "mixed=1xdgx-h100/4", "--rate", "1",
                                      "--duration", "5"};
  auto wrong = load;
  wrong.insert(wrong.end(), {"--policy", "pack", "--limit-tbt", "soon"});
  CHECK(Contains(BatonSim(wrong).output, "--limit-tbt soon: want a time such as 500ms"));
  auto shared = load;
  shared.insert(shared.end(), {"--park-after", "60"});
  CHECK(BatonSim(shared).exit == 2);
  auto right = load;
  right.insert(right.end(),
               {"--policy", "cost", "--limit-ttft", "2s", "--limit-tbt", "60ms", "--reject-early"});
  CHECK(BatonSim(right).exit == 0);
}

}  // namespace baton::test
