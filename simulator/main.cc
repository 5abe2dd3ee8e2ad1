#include <algorithm>
#include <csignal>
#include <string>

#include <CLI/CLI.hpp>

#include "common/daemon/options.h"
#include "simulator/cli/command.h"

namespace {

constexpr const char* kFooter = R"(Begin with:
  baton-sim trace stats TRACE.csv
  baton-sim simulate --trace TRACE.csv --model llama2-70b --fleet prefill=25xdgx-h100,decode=15xdgx-h100
  baton-sim recommend --trace TRACE.csv --model llama2-70b --rate 70 --objective cheapest
Each command has examples of its own: baton-sim simulate --help

Exit codes: 0 as asked, 1 usage, 2 an input that cannot be read or meant, 3 objectives missed (--check), no
fleet meets them, or a replay decides otherwise, 130 interrupted (what is known has been printed).)";

}  // namespace

int main(int argc, char** argv) {
  using namespace baton::simulator;
  std::signal(SIGPIPE, SIG_DFL);  // `baton-sim ... | head` ends quietly
  CLI::App app{
      "Which machines to buy for a load of LLM requests: simulates Baton and the clusters of Splitwise.",
      "baton-sim"};
  app.set_version_flag("--version", "baton-sim " + std::string(baton::daemon::Version()));
  app.footer(kFooter);
  app.require_subcommand(1);
  int exit_code = cli::kOk;
  cli::AddAll(app, exit_code);
  cli::WatchInterrupts();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? cli::kOk : cli::kUsage;
  }
  return exit_code;
}
