#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/daemon/options.h"
#include "simulator/cli/command.h"

namespace {

constexpr const char* kFooter = R"(Begin with:
  baton-sim trace stats TRACE.csv
  baton-sim simulate --trace TRACE.csv --model llama2-70b --fleet prefill=25xdgx-h100,decode=15xdgx-h100
  baton-sim recommend --trace TRACE.csv --model llama2-70b --rate 70 --objective cheapest
Each command has examples of its own: baton-sim simulate --help

Exit codes: 0 as asked, 1 usage, 2 an input that cannot be read or meant or an output that cannot be written,
3 objectives missed (--check), no fleet meets them, or a replay decides otherwise, 130 interrupted (what is
known has been printed).)";

/// `code`, if what was printed has arrived.
int Printed(int code) {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good()) return code;
  return baton::simulator::cli::Fail(
      baton::Error(baton::kUnavailable, "standard output: cannot be written: {}", std::strerror(errno)));
}

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
    return Printed(app.exit(error) == 0 ? cli::kOk : cli::kUsage);
  } catch (const std::system_error& error) {  // fmt::print: "cannot write to file: No space left on device"
    return cli::Fail(baton::Error(baton::kUnavailable, "{}", error.what()));
  }
  return Printed(exit_code);
}
