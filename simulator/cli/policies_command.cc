#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/plan/parallel.h"
#include "simulator/report/table.h"

namespace baton::simulator::cli {
namespace {

/// Attainment that may be given up and still be called equal.
constexpr double kAttainmentSlack = 0.005;

struct PoliciesOptions {
  WorldOptions world;
  std::string fleet;
  std::vector<std::string> policies{"token-jsq", "pack"};
  std::vector<double> loads{30, 50, 70};
  double capacity = 0;
  std::optional<double> check;
};

/// One policy at one load, seed by seed.
struct Cell {
  double load = 0;
  double rate = 0;
  std::string policy;
  std::vector<Figures> figures;
};

using Of = double (*)(const Figures&);

double Joules(const Figures& figures) {
  return figures.joules_per_token;
}
double Dollars(const Figures& figures) {
  return figures.dollars_per_million;
}

Interval Mean(const Cell& cell, Of of) {
  std::vector<double> values;
  for (const Figures& figures : cell.figures) values.push_back(of(figures));
  return IntervalOf(values);
}

/// What `cell` saves against `base`, in percent, seed by seed.
Interval Saved(const Cell& base, const Cell& cell, Of of) {
  std::vector<double> saved;
  for (std::size_t i = 0; i < cell.figures.size(); ++i) {
    saved.push_back((1 - of(cell.figures[i]) / of(base.figures[i])) * 100);
  }
  return IntervalOf(saved);
}

bool Met(const Cell& cell) {
  return std::all_of(cell.figures.begin(), cell.figures.end(),
                     [](const Figures& f) { return f.verdict.met; });
}

double LeastAttainment(const Cell& cell) {
  double least = 1;
  for (const Figures& figures : cell.figures) least = std::min(least, figures.verdict.attainment);
  return least;
}

bool EqualAttainment(const Cell& base, const Cell& cell) {
  for (std::size_t i = 0; i < cell.figures.size(); ++i) {
    if (cell.figures[i].verdict.attainment < base.figures[i].verdict.attainment - kAttainmentSlack)
      return false;
  }
  return Met(cell) || !Met(base);
}

std::string PlusMinus(const Interval& interval, const char* unit) {
  return fmt::format("{:.1f} ± {:.1f}{}", interval.mean, interval.half_width, unit);
}

void AddFigure(const Interval& interval, bool text, const char* unit, std::vector<std::string>& row) {
  if (text) {
    row.push_back(PlusMinus(interval, unit));
    return;
  }
  row.push_back(fmt::format("{:.4f}", interval.mean));
  row.push_back(fmt::format("{:.4f}", interval.half_width));
}

/// Rows of one load follow each other, the baseline first.
Table TableOf(const std::vector<Cell>& cells, std::size_t policies, bool text) {
  Table table{.header = {"load", "rps", "policy", "slo", "tightest", "attainment", "powered"}, .rows = {}};
  for (const char* column :
       {"joules_per_token", "dollars_per_million_tokens", "joules_saved", "dollars_saved"}) {
    table.header.emplace_back(column);
    if (!text) table.header.push_back(fmt::format("{}_interval", column));
  }
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const Cell& cell = cells[i];
    const Cell& base = cells[i - i % policies];
    double tightest = 0;
    for (const Figures& figures : cell.figures) tightest = std::max(tightest, figures.verdict.tightest);
    std::vector<std::string> row{fmt::format("{:g}{}", cell.load, text ? " %" : ""),
                                 fmt::format("{:.1f}", cell.rate),
                                 cell.policy,
                                 Met(cell) ? "met" : "MISSED",
                                 fmt::format("{:.2f}", tightest),
                                 fmt::format("{:.4f}", LeastAttainment(cell))};
    const Interval powered = Mean(cell, [](const Figures& f) { return f.machines_powered; });
    row.push_back(fmt::format("{:.1f}", powered.mean));
    AddFigure(Mean(cell, Joules), text, "", row);
    AddFigure(Mean(cell, Dollars), text, "", row);
    if (&base == &cell) {
      row.resize(table.header.size());
    } else {
      AddFigure(Saved(base, cell, Joules), text, " %", row);
      AddFigure(Saved(base, cell, Dollars), text, " %", row);
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

absl::StatusOr<double> CapacityOf(const PoliciesOptions& options, const World& world,
                                  const FleetSpec& fleet) {
  if (options.capacity > 0) return options.capacity;
  Experiment experiment = world.experiment;
  experiment.policy = options.policies[0];
  experiment.native.park_after_s = 0;
  Progress progress("capacity");
  int probes = 0;
  const Evaluator evaluate = MakeEvaluator(experiment);
  BATON_ASSIGN_OR_RETURN(const HighestRate highest, FindHighestRate(
                                                        [&](const FleetSpec& asked, double rate) {
                                                          progress.Count(++probes);
                                                          return evaluate(asked, rate);
                                                        },
                                                        fleet));
  if (highest.rate <= 0 && !Interrupted()) {
    return Error(kFailedPrecondition, "{} meets the objectives at no rate under {}: {} misses", options.fleet,
                 options.policies[0], highest.above.binding);
  }
  return highest.rate;
}

/// Every policy at every load under every seed.
absl::StatusOr<std::vector<Cell>> RunCells(const PoliciesOptions& options, const World& world,
                                           const FleetSpec& fleet, double capacity) {
  std::vector<Cell> cells;
  for (const double load : options.loads) {
    for (const std::string& policy : options.policies) {
      cells.push_back(
          {load, capacity * load / 100, policy, std::vector<Figures>(options.world.seeds.size())});
    }
  }
  const std::size_t seeds = options.world.seeds.size();
  Mutex mutex;  // guards problem, done
  absl::Status problem;
  double done = 0;
  Progress progress("simulating");
  ParallelFor(cells.size() * seeds, options.world.jobs, [&](std::size_t job) {
    Cell& cell = cells[job / seeds];
    const std::uint64_t seed = options.world.seeds[job % seeds];
    Experiment experiment = world.experiment;
    experiment.policy = cell.policy;
    const auto workload = experiment.load(cell.rate, seed);
    auto figures = workload.ok() ? RunOnce(experiment, fleet, *workload, {.seed = seed})
                                 : absl::StatusOr<Figures>(workload.status());
    const MutexLock lock(mutex);
    progress.Show(++done / static_cast<double>(cells.size() * seeds));
    if (figures.ok()) {
      cell.figures[job % seeds] = *std::move(figures);
    } else if (problem.ok()) {
      problem = figures.status();
    }
  });
  BATON_RETURN_IF_ERROR(problem);
  // After an interruption only loads count that were simulated to their end.
  const auto ended = [](const Cell& cell) {
    return std::none_of(cell.figures.begin(), cell.figures.end(),
                        [](const Figures& f) { return f.interrupted; });
  };
  const std::size_t policies = options.policies.size();
  std::size_t whole = 0;
  while (whole < cells.size() && ended(cells[whole])) ++whole;
  cells.resize(whole / policies * policies);
  return cells;
}

/// Whether each policy saves what was asked for, the whole interval above it, at equal attainment.
bool Holds(const std::vector<Cell>& cells, std::size_t policies, double percent) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const Cell& base = cells[i - i % policies];
    if (&base == &cells[i]) continue;
    if (!EqualAttainment(base, cells[i])) return false;
    for (const Of of : {Joules, Dollars}) {
      const Interval saved = Saved(base, cells[i], of);
      if (!(saved.mean - saved.half_width >= percent)) return false;
    }
  }
  return true;
}

int Policies(const PoliciesOptions& options) {
  const auto fleet = ReadFleet(options.fleet);
  if (!fleet.ok()) return Fail(fleet.status());
  PoliciesOptions used = options;
  if (used.world.arrivals.empty()) used.world.arrivals = "poisson";
  if (used.world.rate <= 0) used.world.rate = 1;  // each load has its own
  const auto world = MakeWorld(used.world, fleet->fleet.pools);
  if (!world.ok()) return Fail(world.status());
  if (world->experiment.slo.Empty()) {
    return Fail(Error(kInvalidArgument, "--slo none: without objectives no policy has a capacity to load"));
  }
  const auto capacity = CapacityOf(used, *world, fleet->fleet);
  if (!capacity.ok()) return Fail(capacity.status());
  const auto cells = RunCells(used, *world, fleet->fleet, *capacity);
  if (!cells.ok()) return Fail(cells.status());
  const std::string& output = used.world.output;
  if (output == "table") {
    fmt::print("{}, model {}, {} arrivals, {} seeds, 95 % intervals\n", fleet->name, used.world.model,
               used.world.arrivals, used.world.seeds.size());
    fmt::print("step times: {}\n", world->step_times);
    fmt::print("100 % = {:.1f} requests/s{}; powered: machines, mean over time\n\n", *capacity,
               used.capacity > 0
                   ? ""
                   : fmt::format(", the highest at which {} meets the objectives", used.policies[0]));
  }
  const Table table = TableOf(*cells, used.policies.size(), output == "table");
  fmt::print("{}", Render(table, output));
  if (Interrupted()) return kInterrupted;
  return used.check && !Holds(*cells, used.policies.size(), *used.check) ? kInfeasible : kOk;
}

}  // namespace

void AddPolicies(CLI::App& app, int& exit_code) {
  auto* policies = app.add_subcommand(
      "policies", "Placement policies on one fleet under the same loads: energy, money, objectives");
  auto options = std::make_shared<PoliciesOptions>();
  options->world.seeds = {1, 2, 3, 4, 5};
  options->world.duration_s = 1200;
  options->world.park_after_s = 60;
  policies->add_option("--fleet", options->fleet, "As for simulate")->required();
  policies->add_option("--policies", options->policies, "Two or more; savings are against the first")
      ->delimiter(',')
      ->expected(2, 16)
      ->capture_default_str();
  policies->add_option("--loads", options->loads, "Percent of the capacity")
      ->delimiter(',')
      ->check(CLI::Range(0.1, 1000.0))
      ->capture_default_str();
  policies
      ->add_option("--capacity", options->capacity,
                   "Requests/s; default: the highest rate at which the first policy meets the objectives")
      ->check(CLI::PositiveNumber);
  policies->add_option(
      "--check", options->check,
      "Exit with 3 unless all save so many percent of joules and of dollars, the whole interval, "
      "at equal attainment");
  AddWorldOptions(*policies, options->world);
  policies->footer(
      "Arrivals are Poisson for 1200 s, machines are powered down after 60 s, unless told otherwise.\n"
      "Example:\n"
      "  baton-sim policies --fleet mixed=8xdgx-a100,mixed=8xdgx-h100 --trace conv.csv --check 15");
  RunsAs(*policies, exit_code, [=] { return Policies(*options); });
}

}  // namespace baton::simulator::cli
