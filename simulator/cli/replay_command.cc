#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "router/record/replay.h"
#include "simulator/cli/command.h"
#include "simulator/report/table.h"

namespace baton::simulator::cli {
namespace {

struct ReplayArguments {
  std::string file;
  bool broken_off = false;
  std::string output = "table";
};

std::vector<std::string> Row(const char* name, const router::DecisionCount& count) {
  return {name, fmt::format("{}", count.made), fmt::format("{}", count.same)};
}

int ReplayRecording(const ReplayArguments& arguments) {
  const auto report = router::ReplayFile(arguments.file, {.broken_off = arguments.broken_off});
  if (!report.ok()) return Fail(report.status());
  const Table decisions{
      .header = {"decision", "made", "same"},
      .rows = {Row("admit", report->admit), Row("place", report->place), Row("ready", report->ready)}};
  const int exit = report->Same() ? kOk : kInfeasible;
  if (arguments.output != "table") {
    fmt::print("{}", Render(decisions, arguments.output));
  } else {
    fmt::print("{}: router {}, model {}, {} of {} workers, {} events, ended: {}\n\n{}\n", arguments.file,
               report->start.router, report->start.model, SecondsText(Seconds(report->span)), report->workers,
               Grouped(static_cast<double>(report->events)), report->end, decisions.AsText());
    fmt::print("{}\n", report->Same() ? "every decision is the same" : "DECISIONS DIFFER; the first:");
  }
  for (const router::Difference& difference : report->differences) {
    fmt::print(arguments.output == "table" ? stdout : stderr, "{}:{}: {}\n", arguments.file, difference.line,
               difference.what);
  }
  return exit;
}

}  // namespace

void AddReplay(CLI::App& app, int& exit_code) {
  auto* replay = app.add_subcommand(
      "replay", "A live router's recording once more: does the code here reach the same decisions?");
  auto arguments = std::make_shared<ReplayArguments>();
  replay->add_option("FILE", arguments->file, "What a router with `record:` in its configuration has written")
      ->required();
  replay->add_flag("--broken-off", arguments->broken_off,
                   "Accept a recording without its end: the router was killed, or the file was cut");
  replay->add_option("--output", arguments->output, "table, json or csv; differences then go to stderr")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
  replay->footer(
      "Exit code 3 where a decision differs.\nExample: baton-sim replay /var/lib/baton/router.rec");
  RunsAs(*replay, exit_code, [=] { return ReplayRecording(*arguments); });
}

}  // namespace baton::simulator::cli
