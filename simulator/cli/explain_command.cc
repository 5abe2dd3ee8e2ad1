#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/plan/parallel.h"
#include "simulator/report/run_report.h"

namespace baton::simulator::cli {
namespace {

struct ExplainOptions {
  WorldOptions world;
  std::string fleet;
};

std::string WaterfallText(const Waterfall& parts) {
  const double all =
      parts.queue_s + parts.prefill_s + parts.transfer_s + parts.decode_wait_s + parts.decode_s;
  std::vector<Bar> bars;
  const auto add = [&](const char* name, double seconds) {
    bars.push_back(
        {.label = name,
         .value = seconds,
         .note = fmt::format("{:>8}  {:4.1f} %", SecondsText(seconds), all > 0 ? seconds / all * 100 : 0)});
  };
  add("queue", parts.queue_s);
  add("prefill", parts.prefill_s);
  add("transfer", parts.transfer_s);
  add("decode wait", parts.decode_wait_s);
  add("decode", parts.decode_s);
  return BarChart(bars, 40);
}

struct Change {
  std::string name;
  FleetSpec fleet;
  double rate = 0;
};

std::vector<Change> ChangesOf(const FleetSpec& fleet, double rate) {
  std::vector<Change> changes{
      {"as it is", fleet, rate}, {"load +20 %", fleet, rate * 1.2}, {"load -20 %", fleet, rate * 0.8}};
  for (std::size_t i = 0; i < fleet.pools.size(); ++i) {
    for (const int step : {+1, -1}) {
      Change change{fmt::format("{:+} {} {}", step, fleet.pools[i].machine, NameOf(fleet.pools[i].role)),
                    fleet, rate};
      change.fleet.pools[i].machines += step;
      if (change.fleet.pools[i].machines > 0) changes.push_back(std::move(change));
    }
  }
  return changes;
}

absl::StatusOr<Table> WhatIf(const World& world, const ExplainOptions& options, const FleetSpec& fleet) {
  const std::vector<Change> changes = ChangesOf(fleet, world.rate);
  std::vector<Figures> figures(changes.size());
  Mutex mutex;  // guards problem
  absl::Status problem;
  ParallelFor(changes.size(), options.world.jobs, [&](std::size_t i) {
    const auto workload = world.experiment.load(changes[i].rate, options.world.seeds[0]);
    auto run = workload.ok()
                   ? RunOnce(world.experiment, changes[i].fleet, *workload, {.seed = options.world.seeds[0]})
                   : absl::StatusOr<Figures>(workload.status());
    const MutexLock lock(mutex);
    if (!run.ok()) {
      problem = run.status();
    } else {
      figures[i] = *std::move(run);
    }
  });
  BATON_RETURN_IF_ERROR(problem);
  Table table{.header = {"change", "$/h", "ttft p99", "tbt p99", "e2e p99", "tightest", "binding", ""},
              .rows = {}};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const SloVerdict& verdict = figures[i].verdict;
    table.rows.push_back({changes[i].name, Number(figures[i].price.dollars_per_hour),
                          SecondsText(verdict.seconds[0][2]), SecondsText(verdict.seconds[1][2]),
                          SecondsText(verdict.seconds[2][2]), fmt::format("{:.0f} %", verdict.tightest * 100),
                          verdict.binding,
                          figures[i].backlog_grows ? "UNSTABLE"
                          : verdict.met            ? "met"
                                                   : "MISSED"});
  }
  return table;
}

int Explain(const ExplainOptions& options) {
  const auto fleet = ReadFleet(options.fleet);
  if (!fleet.ok()) return Fail(fleet.status());
  const auto world = MakeWorld(options.world);
  if (!world.ok()) return Fail(world.status());
  const auto runs = RunFleets(*world, options.world, {*fleet}, {.rate = world->rate, .keep_results = true});
  if (!runs.ok()) return Fail(runs.status());
  const FleetRun& run = (*runs)[0];
  const SloVerdict& verdict = run.figures[0].verdict;
  const auto table = WhatIf(*world, options, fleet->fleet);
  if (!table.ok()) return Fail(table.status());
  if (options.world.output != "table") {
    fmt::print("{}", Render(*table, options.world.output));
    return Interrupted() ? kInterrupted : kOk;
  }
  fmt::print("{}\n\n", FormatFleet(fleet->fleet));
  if (!world->experiment.slo.Empty()) {
    fmt::print("{}\n", SloTableOf(verdict, world->experiment.slo).AsText());
    fmt::print("what binds: {} at {:.0f} % of its limit\n\n", verdict.binding, verdict.tightest * 100);
  }
  fmt::print("Where the time of a request goes, mean of all\n{}\n", WaterfallText(WaterfallOf(*run.result)));
  fmt::print("Where the time of the slowest hundredth goes\n{}\n",
             WaterfallText(WaterfallOf(*run.result, 0.99)));
  fmt::print("What a change would do\n{}", table->AsText());
  return Interrupted() ? kInterrupted : kOk;
}

}  // namespace

void AddExplain(CLI::App& app, int& exit_code) {
  auto* explain =
      app.add_subcommand("explain", "Where a fleet's time goes, what binds, and what a change would do");
  auto options = std::make_shared<ExplainOptions>();
  explain->add_option("--fleet", options->fleet, "As of simulate")->required();
  AddWorldOptions(*explain, options->world);
  explain->footer(
      "Example: baton-sim explain --fleet prefill=12xdgx-h100,decode=15xdgx-a100 --trace conv.csv --rate 70");
  RunsAs(*explain, exit_code, [=] { return Explain(*options); });
}

}  // namespace baton::simulator::cli
