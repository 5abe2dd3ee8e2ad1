#include <algorithm>
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/plan/machine_events.h"
#include "simulator/report/run_report.h"
#include "simulator/trace/trace_file.h"

namespace baton::simulator::cli {
namespace {

struct SimulateOptions {
  WorldOptions world;
  std::vector<std::string> fleets;
  std::string requests_out;
  std::string html;
  std::string perfetto;
  std::string events;
  bool check = false;
};

NamedRun AsNamed(const FleetRun& run) {
  return {.name = run.fleet.name, .fleet = run.fleet.fleet, .figures = run.figures};
}

void PrintNotes(const FleetRun& run, const World& world) {
  for (const Figures& figures : run.figures) {
    if (!figures.interrupted) continue;
    fmt::print("{}: INTERRUPTED: these are the figures of {} requests that had ended\n", run.fleet.name,
               figures.done);
    return;
  }
  const Figures& first = run.figures[0];
  if (first.done < first.requests) {
    fmt::print(
        "{}: {} of {} requests were not served: {} refused, {} failed, {} unfinished{}\n", run.fleet.name,
        first.requests - first.done, first.requests, first.refused, first.failed, first.unfinished,
        first.refused > 0 ? "; refused is what fits on no machine, or what the policy turns away" : "");
  }
  for (const Figures& figures : run.figures) {
    if (figures.backlog_grows) {
      fmt::print("{}: UNSTABLE: the backlog grows; latencies would grow with a longer load\n",
                 run.fleet.name);
      break;
    }
  }
  // A roofline was fitted on no step at all: the line of step times says so.
  const bool fitted = world.experiment.step_times != hardware::PerfKind::kRoofline;
  if (fitted && run.figures[0].extrapolated_share > 0.1) {
    fmt::print("{}: {:.0f} % of step times lie outside what the performance model was fitted on\n",
               run.fleet.name, run.figures[0].extrapolated_share * 100);
  }
}

/// "8,219 requests, 68.5/s, model llama2-70b, mode native, seed 0"
std::string LoadText(const SimulateOptions& options, const std::vector<FleetRun>& runs) {
  const Figures& figures = runs[0].figures[0];
  const std::vector<std::uint64_t>& seeds = options.world.seeds;
  return fmt::format("{} request{}, {:.3g}/s, model {}, mode {}, {}",
                     Grouped(static_cast<double>(figures.requests)), figures.requests == 1 ? "" : "s",
                     figures.offered_rate, options.world.model, options.world.mode,
                     seeds.size() == 1 ? fmt::format("seed {}", seeds[0])
                                       : fmt::format("{} seeds, 95 % intervals", seeds.size()));
}

absl::Status WriteFiles(const SimulateOptions& options, const World& world,
                        const std::vector<FleetRun>& runs) {
  if (!options.requests_out.empty()) {
    BATON_RETURN_IF_ERROR(WriteText(options.requests_out, RequestsAsCsv(*runs[0].workload, *runs[0].result)));
  }
  if (!options.perfetto.empty()) {
    BATON_RETURN_IF_ERROR(WriteText(options.perfetto, AsPerfetto(*runs[0].workload, *runs[0].result)));
  }
  if (!options.html.empty()) {
    std::vector<PageRun> pages;
    for (const FleetRun& run : runs) {
      pages.push_back({.named = AsNamed(run), .workload = run.workload.get(), .result = run.result.get()});
    }
    BATON_RETURN_IF_ERROR(
        WriteText(options.html, RunsPage(LoadText(options, runs) + "; step times: " + world.step_times, pages,
                                         world.experiment.slo)));
  }
  return absl::OkStatus();
}

void Print(const SimulateOptions& options, const World& world, const std::vector<FleetRun>& runs) {
  std::vector<NamedRun> named;
  for (const FleetRun& run : runs) named.push_back(AsNamed(run));
  const std::string& output = options.world.output;
  if (output == "json") {
    fmt::print("{}", RunsAsJson(named, options.world.seeds, world.experiment.slo, world.step_times));
    return;
  }
  const Table summary = SummaryTable(named, named.size() > 1);
  if (output != "table") {
    fmt::print("{}", Render(summary, output));
    return;
  }
  fmt::print("{}\nstep times: {}\n\n", LoadText(options, runs), world.step_times);
  if (runs.size() == 1 && !world.experiment.slo.Empty()) {
    fmt::print("{}\n", SloTableOf(runs[0].figures[0].verdict, world.experiment.slo).AsText());
  }
  fmt::print("{}", summary.AsText());
  for (const FleetRun& run : runs) PrintNotes(run, world);
}

int Simulate(const SimulateOptions& options) {
  std::vector<NamedFleet> fleets;
  for (const std::string& text : options.fleets) {
    auto fleet = ReadFleet(text);
    if (!fleet.ok()) return Fail(fleet.status());
    fleets.push_back(*std::move(fleet));
  }
  auto world = MakeWorld(options.world, PoolsOf(fleets));
  if (!world.ok()) return Fail(world.status());
  if (!options.events.empty()) {
    if (world->experiment.mode == Mode::kSplitwise)
      return Fail(Error(kInvalidArgument, "--events: mode splitwise has no failures and drains; use native"));
    auto events = ReadMachineEvents(options.events, *world->catalogue, fleets[0].fleet);
    if (!events.ok()) return Fail(events.status());
    world->experiment.events = *std::move(events);
  }
  const bool files = !options.requests_out.empty() || !options.html.empty() || !options.perfetto.empty();
  const auto runs = RunFleets(*world, options.world, fleets,
                              {.rate = world->rate,
                               .keep_results = files,
                               .timelines = !options.html.empty() || !options.perfetto.empty()});
  if (!runs.ok()) return Fail(runs.status());
  Print(options, *world, *runs);
  if (const absl::Status written = WriteFiles(options, *world, *runs); !written.ok()) return Fail(written);
  if (Interrupted()) return kInterrupted;
  const bool missed = std::any_of(runs->begin(), runs->end(), [](const FleetRun& run) {
    return std::any_of(run.figures.begin(), run.figures.end(),
                       [](const Figures& f) { return !f.verdict.met; });
  });
  return options.check && missed ? kInfeasible : kOk;
}

void AddFiles(CLI::App& app, SimulateOptions& options) {
  app.add_option("--requests-out", options.requests_out,
                 "CSV of the first fleet's requests, with the columns of the reference's results");
  app.add_option("--html", options.html, "A page with plots: distributions and machine timelines");
  app.add_option("--perfetto", options.perfetto, "The first fleet's trace, for ui.perfetto.dev");
  app.add_flag("--check", options.check, "Exit with 3 where an objective is missed");
}

}  // namespace

void AddSimulate(CLI::App& app, int& exit_code) {
  auto* simulate = app.add_subcommand("simulate", "One fleet under one load");
  auto options = std::make_shared<SimulateOptions>();
  simulate
      ->add_option("--fleet", options->fleets,
                   "prefill=25xdgx-h100,decode=15xdgx-h100 or mixed=40xdgx-h100; cap: @350w; GPUs of an "
                   "instance: /4; or "
                   "a YAML file with pools")
      ->required()
      ->expected(1);
  AddWorldOptions(*simulate, options->world);
  simulate->add_option(
      "--events", options->events,
      "YAML file with `events`, each {at: 30s, machine: decode-0, what: fail, drain or return}");
  AddFiles(*simulate, *options);
  simulate->footer(
      "Examples:\n"
      "  baton-sim simulate --fleet prefill=25xdgx-h100,decode=15xdgx-h100 --trace conv.csv --rate 70\n"
      "  baton-sim simulate --fleet mixed=40xdgx-h100 --mode splitwise --model bloom-176b --trace t.csv "
      "--html run.html\n"
      "  baton-sim simulate --fleet mixed=4xdgx-h100 --rate 5 --arrivals gamma --cv 3 --seeds 1,2,3 --check");
  RunsAs(*simulate, exit_code, [=] { return Simulate(*options); });
}

void AddCompare(CLI::App& app, int& exit_code) {
  auto* compare =
      app.add_subcommand("compare", "Several fleets under the same load, with differences and intervals");
  auto options = std::make_shared<SimulateOptions>();
  options->world.seeds = {1, 2, 3};
  compare
      ->add_option(
          "FLEETS", options->fleets,
          "Two or more; a name may come first: AA=prefill=45xdgx-a100,decode=25xdgx-a100. Changes are "
          "against the first")
      ->required()
      ->expected(2, 64);
  AddWorldOptions(*compare, options->world);
  AddFiles(*compare, *options);
  compare->footer(
      "Example:\n"
      "  baton-sim compare H=mixed=40xdgx-h100 HH=prefill=25xdgx-h100,decode=15xdgx-h100 \\\n"
      "    --trace conv.csv --rate 70 --arrivals poisson --seeds 1,2,3");
  RunsAs(*compare, exit_code, [=] { return Simulate(*options); });
}

}  // namespace baton::simulator::cli
