#include <cstdio>
#include <map>
#include <string>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "common/base/log.h"
#include "tests/scenarios/cluster.h"

/// simulate_transfers: the hand-off's own code in a simulated cluster, one run a seed.
///   --seed N         one run, with its trace
///   --seeds A..B     runs A to B - 1; stops at the first that breaks an invariant and prints its trace
///   --mutation NAME  leaves a rule of the protocol out; with --found the exit code is 0 where that is
///   noticed
namespace baton::scenarios {
namespace {

const std::map<std::string, Mutation> kMutations = {{"none", Mutation::kNone},
                                                    {"no-quarantine", Mutation::kNoQuarantine},
                                                    {"drained-at-close", Mutation::kDrainedAtClose},
                                                    {"no-fence", Mutation::kNoFence},
                                                    {"no-checksum", Mutation::kNoChecksum},
                                                    {"unpinned", Mutation::kUnpinned},
                                                    {"no-completeness", Mutation::kNoCompleteness},
                                                    {"no-timers", Mutation::kNoTimers},
                                                    {"repeated-data", Mutation::kRepeatedData},
                                                    {"unfinished-block", Mutation::kUnfinishedBlock},
                                                    {"kept-unpinned", Mutation::kKeptUnpinned},
                                                    {"taken-unfenced", Mutation::kTakenUnfenced},
                                                    {"partial-return", Mutation::kPartialReturn}};

struct Options {
  std::uint64_t seed = 0;
  bool one = false;
  std::string seeds = "0..10000";
  Mutation mutation = Mutation::kNone;
  bool found = false;
};

void PrintTrace(std::uint64_t seed, const Summary& run) {
  for (const std::string& line : run.trace) std::puts(line.c_str());
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed),
              run.violation.empty() ? "every invariant held" : run.violation.c_str());
}

/// The seeds [first, last): the exit code.
int RunSeeds(const Options& options, std::uint64_t first, std::uint64_t last) {
  long requests = 0;
  long completed = 0;
  long moved = 0;
  long returned = 0;
  std::map<std::string, int> faults;
  for (std::uint64_t seed = first; seed < last; ++seed) {
    const Summary run = Cluster(seed, options.mutation, /*tracing=*/false).Run();
    if (!run.violation.empty()) {
      if (options.found) {
        std::printf("noticed after %llu seeds: %s\n", static_cast<unsigned long long>(seed - first + 1),
                    run.violation.c_str());
        return 0;
      }
      PrintTrace(seed, Cluster(seed, options.mutation, /*tracing=*/true).Run());
      return 1;
    }
    requests += run.requests;
    completed += run.completed;
    moved += run.moved;
    returned += run.returned;
    for (const auto& [name, count] : run.faults) faults[name] += count;
  }
  std::printf("%llu seeds: %ld requests, %ld answered whole, %ld moved, %ld came back",
              static_cast<unsigned long long>(last - first), requests, completed, moved, returned);
  for (const auto& [name, count] : faults) std::printf(", %d %s", count, name.c_str());
  std::printf("\n");
  if (options.found) {
    std::printf("the fault was not noticed\n");
    return 1;
  }
  // A simulation in which everything or nothing succeeds tests half of the protocol.
  const bool mixed = completed > requests / 4 && completed < requests * 49 / 50 && moved > requests / 50 &&
                     returned > requests / 50;
  return last - first < 100 || mixed ? 0 : 1;
}

int Run(const Options& options) {
  if (options.one) {
    const Summary run = Cluster(options.seed, options.mutation, /*tracing=*/true).Run();
    PrintTrace(options.seed, run);
    return run.violation.empty() ? 0 : 1;
  }
  const std::size_t dots = options.seeds.find("..");
  if (dots == std::string::npos) {
    std::fprintf(stderr, "--seeds %s: not of the form A..B\n", options.seeds.c_str());
    return 2;
  }
  return RunSeeds(options, std::stoull(options.seeds.substr(0, dots)),
                  std::stoull(options.seeds.substr(dots + 2)));
}

}  // namespace
}  // namespace baton::scenarios

int main(int argc, char** argv) {
  baton::scenarios::Options options;
  CLI::App app("Runs the KV hand-off in a simulated cluster with faults, one run a seed.");
  const auto* seed = app.add_option("--seed", options.seed, "Run this seed and print its trace");
  app.add_option("--seeds", options.seeds, "Run the seeds A to B - 1 of A..B")
      ->check(CLI::Validator(
          [](const std::string& text) {
            const bool good = !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos &&
                              text.find("..") != 0 && text.find("..") + 2 < text.size();
            return good ? std::string() : "not of the form A..B";
          },
          "A..B"));
  app.add_option("--mutation", options.mutation, "Leave this rule out")
      ->transform(CLI::CheckedTransformer(baton::scenarios::kMutations));
  app.add_flag("--found", options.found, "Succeed where an invariant is broken");
  CLI11_PARSE(app, argc, argv);
  options.one = seed->count() > 0;
  return baton::scenarios::Run(options);
}
