#include <cstdio>

#include <CLI/CLI.hpp>

#include "tests/storm/storm.h"

/// storm_transfers: see README.md. 0: every invariant held; 1: one did not, and the trace is printed.
int main(int argc, char** argv) {
  baton::storm::StormOptions options;
  CLI::App app("Transfers over UCX between four processes that are killed, stopped, cancelled and lied to.");
  app.add_option("--transfers", options.transfers, "How many transfers are asked for")
      ->check(CLI::Range(100, 10'000'000));
  app.add_option("--seed", options.seed, "Of what is asked and struck; the pace is the machine's");
  app.add_option("--transfers-a-fault", options.transfers_a_fault, "One fault to so many transfers")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--trace", options.trace_file, "Also write the whole trace to this file");
  app.add_flag("!--no-checksum", options.checksum, "Without checksums: the pattern alone finds wrong bytes");
  app.add_flag("!--no-memory-bound", options.bound_memory, "Do not judge the growth of memory");
  CLI11_PARSE(app, argc, argv);
  baton::storm::Storm storm(options);
  const bool held = storm.Run();
  if (!held) std::fputs(storm.Violations().c_str(), stdout);
  std::fputs(storm.Summary().c_str(), stdout);
  return held ? 0 : 1;
}
