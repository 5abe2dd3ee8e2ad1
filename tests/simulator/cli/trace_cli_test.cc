#include <catch2/catch.hpp>

#include "tests/simulator/cli/baton_sim.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

namespace baton::test {
namespace {

TEST_CASE("baton-sim without a command is a usage error, and --help is not") {
  CHECK(BatonSim({}).exit == 1);
  CHECK(BatonSim({"trace", "stats"}).exit == 1);
  CHECK(BatonSim({"trace", "synth", "--rate", "5", "--to", "parquet"}).exit == 1);
  const RunResult help = BatonSim({"--help"});
  CHECK(help.exit == 0);
  CHECK(Contains(help.output, "Exit codes: 0 as asked, 1 usage, 2 an input"));
}

TEST_CASE("a made load can be written, described and converted, and its seed decides it") {
  const TemporaryFolder folder;
  const std::string made = folder.Path() + "/made.csv";
  const std::vector<std::string> synth{"trace", "synth", "--rate", "20", "--duration", "30", "--seed", "4"};

  const RunResult first = BatonSim(synth);
  const RunResult second = BatonSim(synth);
  WriteFile(made, first.output);
  const RunResult stats = BatonSim({"trace", "stats", made, "--output", "json"});
  const RunResult lines = BatonSim({"trace", "convert", made, "--to", "jsonl", "--until", "1"});

  CHECK(first.exit == 0);
  CHECK(first.output == second.output);
  CHECK(stats.exit == 0);
  CHECK(Contains(stats.output, "{\"figure\":\"prompt_p50\",\"value\":"));
  CHECK(lines.exit == 0);
  CHECK(lines.output.starts_with("{\"id\":0,\"arrival_s\":"));
}

TEST_CASE("a bad trace is named with its line and field, and the exit code says so") {
  const TemporaryFolder folder;
  const std::string path = folder.Path() + "/bad.csv";
  WriteFile(path, "arrival_s,prompt_tokens,output_tokens\n1,5,5\n2,5,zero\n");

  const RunResult result = BatonSim({"trace", "stats", path});

  CHECK(result.exit == 2);
  CHECK(Contains(result.output, "bad.csv:3: output_tokens: 'zero' is no whole number"));
}

}  // namespace
}  // namespace baton::test
