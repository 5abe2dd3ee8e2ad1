#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <utility>

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

/// The parts that `metric` is made of; the time between tokens is what follows the first.
std::string WaterfallText(const Waterfall& parts, Metric metric) {
  struct Part {
    const char* name;
    double seconds;
    bool until_first;  // token
  };
  std::vector<Part> shown;
  double all = 0;
  for (const Part& part :
       {Part{"queue", parts.queue_s, true}, Part{"prefill", parts.prefill_s, true},
        Part{"transfer", parts.transfer_s, false}, Part{"decode wait", parts.decode_wait_s, false},
        Part{"decode", parts.decode_s, false}}) {
    if (metric != Metric::kE2e && part.until_first != (metric == Metric::kTtft)) continue;
    shown.push_back(part);
    all += part.seconds;
  }
  std::vector<Bar> bars;
  for (const Part& part : shown) {
    bars.push_back({.label = part.name,
                    .value = part.seconds,
                    .note = fmt::format("{:>8}  {:4.1f} %", SecondsText(part.seconds),
                                        all > 0 ? part.seconds / all * 100 : 0)});
  }
  return BarChart(bars, 40);
}

/// Of the hundredth of requests that is slowest by `metric`, at least one.
Waterfall SlowestBy(const RunResult& result, Metric metric) {
  const auto of = [&](const RequestOutcome& outcome) {
    switch (metric) {
      case Metric::kTtft:
        return outcome.ttft_s;
      case Metric::kTbt:
        return outcome.tbt_s;
      case Metric::kE2e:
        return outcome.response_s;
    }
    return 0.0;
  };
  RunResult slowest;
  std::copy_if(result.requests.begin(), result.requests.end(), std::back_inserter(slowest.requests),
               [](const RequestOutcome& outcome) { return outcome.end == RequestEnd::kDone; });
  std::stable_sort(slowest.requests.begin(), slowest.requests.end(),
                   [&](const RequestOutcome& a, const RequestOutcome& b) { return of(a) > of(b); });
  slowest.requests.resize(std::min(slowest.requests.size(), slowest.requests.size() / 100 + 1));
  return WaterfallOf(slowest);
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
  const bool shown = options.world.output == "table";
  Table table{.header = {"change", "dollars_per_hour", "ttft_p99_s", "tbt_p99_s", "e2e_p99_s", "slo_tightest",
                         "binding", "verdict"},
              .rows = {}};
  if (shown) table.header = {"change", "$/h", "ttft p99", "tbt p99", "e2e p99", "tightest", "binding", ""};
  const auto seconds = [&](double value) { return shown ? SecondsText(value) : Number(value); };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (figures[i].interrupted) continue;
    const SloVerdict& verdict = figures[i].verdict;
    table.rows.push_back({changes[i].name, Number(figures[i].price.dollars_per_hour),
                          seconds(verdict.seconds[0][2]), seconds(verdict.seconds[1][2]),
                          seconds(verdict.seconds[2][2]),
                          shown ? PercentText(verdict.tightest) : Number(verdict.tightest), verdict.binding,
                          figures[i].backlog_grows ? "UNSTABLE"
                          : verdict.met            ? "met"
                                                   : "MISSED"});
  }
  return table;
}

int Explain(const ExplainOptions& options) {
  const auto fleet = ReadFleet(options.fleet);
  if (!fleet.ok()) return Fail(fleet.status());
  const auto world = MakeWorld(options.world, fleet->fleet.pools);
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
  fmt::print(
      "{}\nstep times: {}\n{}\n", FormatFleet(fleet->fleet), world->step_times,
      run.figures[0].interrupted ? "INTERRUPTED: what follows is of the requests that had ended\n" : "");
  if (!world->experiment.slo.Empty()) {
    fmt::print("{}\n", SloTableOf(verdict, world->experiment.slo).AsText());
    fmt::print("what binds: {} at {} of its limit\n\n", verdict.binding, PercentText(verdict.tightest));
  }
  fmt::print("Where the time of a request goes, mean of all\n{}\n",
             WaterfallText(WaterfallOf(*run.result), Metric::kE2e));
  for (const auto& [metric, what] : {std::pair{Metric::kTtft, "first token"},
                                     {Metric::kTbt, "time between tokens: what follows the first"},
                                     {Metric::kE2e, "response"}}) {
    fmt::print("The hundredth with the slowest {}\n{}\n", what,
               WaterfallText(SlowestBy(*run.result, metric), metric));
  }
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
