#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/plan/parallel.h"
#include "simulator/report/table.h"

namespace baton::simulator::cli {
namespace {

struct Design {
  const char* name;
  const char* fleet;
  const char* published;
};

/// Counts as in the authors' evaluation; "published" is what the text of the paper states, and only that.
const std::map<std::string, std::vector<Design>>& Presets() {
  static const std::map<std::string, std::vector<Design>> kPresets{
      {"iso-power conversation",
       {{"Baseline-A100", "mixed=70xdgx-a100", ""},
        {"Baseline-H100", "mixed=40xdgx-h100", ""},
        {"AA", "prefill=45xdgx-a100,decode=25xdgx-a100", "2.15x A100"},
        {"HH", "prefill=25xdgx-h100,decode=15xdgx-h100", ""},
        {"HA", "prefill=25xdgx-h100,decode=26xdgx-a100", "1.18x, -10 % cost"},
        {"HHcap", "prefill=25xdgx-h100,decode=21xdgx-h100-pcap", "best latencies"}}},
      {"iso-power coding",
       {{"Baseline-A100", "mixed=70xdgx-a100", ""},
        {"Baseline-H100", "mixed=40xdgx-h100", ""},
        {"AA", "prefill=55xdgx-a100,decode=15xdgx-a100", "above H100"},
        {"HH", "prefill=35xdgx-h100,decode=5xdgx-h100", "above H100"},
        {"HA", "prefill=35xdgx-h100,decode=8xdgx-a100", ""},
        {"HHcap", "prefill=35xdgx-h100,decode=7xdgx-h100-pcap", "above H100"}}},
      {"iso-cost conversation",
       {{"Baseline-A100", "mixed=86xdgx-a100", ""},
        {"Baseline-H100", "mixed=40xdgx-h100", ""},
        {"AA", "prefill=51xdgx-a100,decode=35xdgx-a100", "1.4x H100, +25 % power"},
        {"HH", "prefill=25xdgx-h100,decode=15xdgx-h100", ""},
        {"HA", "prefill=30xdgx-h100,decode=21xdgx-a100", ""},
        {"HHcap", "prefill=30xdgx-h100,decode=10xdgx-h100-pcap", ""}}},
      {"iso-cost coding",
       {{"Baseline-A100", "mixed=86xdgx-a100", ""},
        {"Baseline-H100", "mixed=40xdgx-h100", ""},
        {"AA", "prefill=66xdgx-a100,decode=20xdgx-a100", ""},
        {"HH", "prefill=35xdgx-h100,decode=5xdgx-h100", ""},
        {"HA", "prefill=35xdgx-h100,decode=10xdgx-a100", ""},
        {"HHcap", "prefill=35xdgx-h100,decode=7xdgx-h100-pcap", ""}}}};
  return kPresets;
}

struct PaperOptions {
  WorldOptions world;
  std::string table;
  std::string workload = "conversation";
};

constexpr const char* kBaseline = "mixed=40xdgx-h100";

std::string Ratio(double value, double base) {
  return base > 0 ? fmt::format("{:.2f}x", value / base) : "";
}

/// "0.98x", of several seeds "0.98x ± 0.02".
std::string Text(const std::vector<double>& values, int digits, const char* unit) {
  const Interval interval = IntervalOf(values);
  std::string text = fmt::format("{:.{}f}{}", interval.mean, digits, unit);
  if (values.size() > 1) text += fmt::format(" ± {:.{}f}", interval.half_width, digits);
  return text;
}

std::string Ratios(const std::vector<double>& values, const std::vector<double>& base) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (base[i] > 0) ratios.push_back(values[i] / base[i]);
  }
  return ratios.empty() ? "" : Text(ratios, 2, "x");
}

/// The one that most seeds name.
std::string MostOften(const std::vector<std::string>& names) {
  std::map<std::string, int> counts;
  std::string most;
  for (const std::string& name : names) {
    if (++counts[name] > counts[most]) most = name;
  }
  return most;
}

/// An experiment of one seed; what it answers is remembered. Any thread.
Evaluator EvaluatorOf(const World& world, std::uint64_t seed) {
  Experiment experiment = world.experiment;
  experiment.seeds = {seed};
  struct Memory {
    Mutex mutex;  // guards known
    std::map<std::pair<std::string, double>, Probe> known;
  };
  return [evaluate = MakeEvaluator(experiment), memory = std::make_shared<Memory>()](
             const FleetSpec& fleet, double rate) -> absl::StatusOr<Probe> {
    const std::pair key(FormatFleet(fleet), rate);
    {
      const MutexLock lock(memory->mutex);
      if (const auto found = memory->known.find(key); found != memory->known.end()) return found->second;
    }
    BATON_ASSIGN_OR_RETURN(const Probe probe, evaluate(fleet, rate));
    const MutexLock lock(memory->mutex);
    return memory->known.emplace(key, probe).first->second;
  };
}

/// Of one design, seed by seed.
struct Rates {
  std::vector<double> rps;
  std::vector<std::string> limited_by;
};

absl::StatusOr<Table> EqualBudget(const PaperOptions& options, const World& world) {
  const std::vector<Design>& designs = Presets().at(options.table + " " + options.workload);
  const std::vector<std::uint64_t>& seeds = options.world.seeds;
  std::vector<Rates> rates(designs.size(),
                           {std::vector<double>(seeds.size()), std::vector<std::string>(seeds.size())});
  std::vector<Evaluator> evaluators;
  for (const std::uint64_t seed : seeds) evaluators.push_back(EvaluatorOf(world, seed));
  const std::size_t jobs = designs.size() * seeds.size();
  Mutex mutex;  // guards problem, done
  absl::Status problem;
  double done = 0;
  Progress progress("designs");
  ParallelFor(jobs, options.world.jobs, [&](std::size_t job) {
    const std::size_t design = job / seeds.size();
    const std::size_t seed = job % seeds.size();
    const auto fleet = ParseFleet(designs[design].fleet);
    const auto rate = FindHighestRate(evaluators[seed], *fleet);
    const MutexLock lock(mutex);
    progress.Show(++done / static_cast<double>(jobs));
    if (!rate.ok()) {
      problem = rate.status();
      return;
    }
    rates[design].rps[seed] = rate->rate;
    rates[design].limited_by[seed] = rate->above.binding;
  });
  BATON_RETURN_IF_ERROR(problem);
  Table table{.header = {"design", "fleet", "max_rps", "vs_A100", "vs_H100", "cost", "power", "limited_by",
                         "published"},
              .rows = {}};
  BATON_ASSIGN_OR_RETURN(const FleetSpec h100, ParseFleet(designs[1].fleet));
  BATON_ASSIGN_OR_RETURN(const FleetPrice base, PriceOf(*world.catalogue, h100));
  for (std::size_t i = 0; i < designs.size(); ++i) {
    BATON_ASSIGN_OR_RETURN(const FleetSpec fleet, ParseFleet(designs[i].fleet));
    BATON_ASSIGN_OR_RETURN(const FleetPrice price, PriceOf(*world.catalogue, fleet));
    table.rows.push_back(
        {designs[i].name, designs[i].fleet, Text(rates[i].rps, 1, ""), Ratios(rates[i].rps, rates[0].rps),
         Ratios(rates[i].rps, rates[1].rps), Ratio(price.cost_weight, base.cost_weight),
         Ratio(price.power_weight, base.power_weight), MostOften(rates[i].limited_by), designs[i].published});
  }
  return table;
}

/// Columns of one design, priced in the paper's units.
absl::StatusOr<std::vector<Column>> DesignColumns(const World& world, const std::vector<Column>& all,
                                                  const std::string& prefill, const std::string& decode) {
  std::vector<Column> columns;
  for (Column column : all) {
    const bool wanted = decode.empty() ? column.role == PoolRole::kMixed && column.machine == prefill
                                       : (column.role == PoolRole::kPrefill && column.machine == prefill) ||
                                             (column.role == PoolRole::kDecode && column.machine == decode);
    if (!wanted) continue;
    BATON_ASSIGN_OR_RETURN(const hardware::Machine* machine, world.catalogue->FindMachine(column.machine));
    column.dollars_per_hour = machine->cost_weight;
    column.watts = machine->power_weight;
    columns.push_back(column);
  }
  return columns;
}

struct TypePair {
  const char* name;
  const char* prefill;
  const char* decode;  // empty: mixed
  const char* published_cost;
  const char* published_power;
};
constexpr std::array kPairs{TypePair{"Baseline-A100", "dgx-a100", "", "", ""},
                            TypePair{"AA", "dgx-a100", "dgx-a100", "-25 % cost", ""},
                            TypePair{"HH", "dgx-h100", "dgx-h100", "", ""},
                            TypePair{"HA", "dgx-h100", "dgx-a100", "", ""},
                            TypePair{"HHcap", "dgx-h100", "dgx-h100-pcap", "", "-25 % power"}};
constexpr std::array kGoals{Objective::kCheapest, Objective::kLowestPower};
/// What each pair needs for one goal: nothing where it reaches the rate with no fleet.
using Needs = std::array<std::array<std::optional<Candidate>, kGoals.size()>, kPairs.size()>;

/// The load that Baseline-H100 just carries under one seed, and what carries it instead.
struct Throughput {
  double rate = 0;
  Needs needs;
};

/// `jobs`: threads of the search.
absl::StatusOr<Throughput> ThroughputOf(const World& world, std::uint64_t seed, int jobs) {
  const Evaluator evaluate = EvaluatorOf(world, seed);
  BATON_ASSIGN_OR_RETURN(const FleetSpec baseline, ParseFleet(kBaseline));
  BATON_ASSIGN_OR_RETURN(const HighestRate target, FindHighestRate(evaluate, baseline));
  Throughput found{.rate = target.rate, .needs = {}};
  if (Interrupted()) return found;
  if (target.rate <= 0) return Error(kFailedPrecondition, "Baseline-H100 meets the objectives at no rate");
  BATON_ASSIGN_OR_RETURN(const Workload sample, world.experiment.load(target.rate, seed));
  std::vector<std::string> skipped;
  BATON_ASSIGN_OR_RETURN(const std::vector<Column> all,
                         AnalyseColumns(world.experiment, {"dgx-a100", "dgx-h100", "dgx-h100-pcap"}, sample,
                                        target.rate, skipped));
  for (std::size_t pair = 0; pair < kPairs.size(); ++pair) {
    BATON_ASSIGN_OR_RETURN(const std::vector<Column> columns,
                           DesignColumns(world, all, kPairs[pair].prefill, kPairs[pair].decode));
    for (std::size_t goal = 0; goal < kGoals.size(); ++goal) {
      const SearchOptions search{
          .objective = kGoals[goal], .rate = target.rate, .budget = {}, .jobs = jobs, .progress = [](int) {
            return !Interrupted();
          }};
      BATON_ASSIGN_OR_RETURN(const Recommendation recommended, Recommend(columns, evaluate, search));
      if (!recommended.interrupted) found.needs[pair][goal] = recommended.best;
    }
  }
  return found;
}

/// One row: cost and power against the baseline's, seed by seed; the fleet is that of the middle cost.
std::vector<std::string> ThroughputRow(const std::vector<Throughput>& seeds, std::size_t pair,
                                       std::size_t goal, const FleetPrice& base) {
  std::vector<const Candidate*> found;
  std::vector<double> rates;
  for (const Throughput& seed : seeds) {
    if (!seed.needs[pair][goal]) continue;
    found.push_back(&*seed.needs[pair][goal]);
    rates.push_back(seed.rate);
  }
  const TypePair& types = kPairs[pair];
  const std::string published =
      kGoals[goal] == Objective::kCheapest ? types.published_cost : types.published_power;
  const std::string objective(NameOf(kGoals[goal]));
  if (found.empty()) return {types.name, objective, "none", "", "", "", "", published};
  const auto text = [&](int digits, const char* unit, const auto& of) {
    std::vector<double> values;
    for (const Candidate* candidate : found) values.push_back(of(*candidate));
    return Text(values, digits, unit);
  };
  const std::string cost =
      text(2, "x", [&](const Candidate& c) { return c.dollars_per_hour / base.cost_weight; });
  const std::string power = text(2, "x", [&](const Candidate& c) { return c.watts / base.power_weight; });
  const std::string machines =
      text(seeds.size() > 1 ? 1 : 0, "", [](const Candidate& c) { return double{1} * c.machines; });
  std::stable_sort(found.begin(), found.end(), [](const Candidate* a, const Candidate* b) {
    return a->dollars_per_hour < b->dollars_per_hour;
  });
  return {types.name,         objective, FormatFleet(found[(found.size() - 1) / 2]->fleet),
          Text(rates, 1, ""), cost,      power,
          machines,           published};
}

absl::StatusOr<Table> EqualThroughput(const PaperOptions& options, const World& world) {
  BATON_ASSIGN_OR_RETURN(const FleetSpec baseline, ParseFleet(kBaseline));
  BATON_ASSIGN_OR_RETURN(const FleetPrice base, PriceOf(*world.catalogue, baseline));
  std::vector<Throughput> seeds(options.world.seeds.size());
  Mutex mutex;  // guards problem, done
  absl::Status problem;
  double done = 0;
  {
    Progress progress("seeds");
    ParallelFor(seeds.size(), options.world.jobs, [&](std::size_t i) {
      auto found = ThroughputOf(world, options.world.seeds[i], seeds.size() == 1 ? options.world.jobs : 1);
      const MutexLock lock(mutex);
      progress.Show(++done / static_cast<double>(seeds.size()));
      if (found.ok()) {
        seeds[i] = *std::move(found);
      } else {
        problem = found.status();
      }
    });
  }
  BATON_RETURN_IF_ERROR(problem);
  std::vector<double> rates;
  for (const Throughput& seed : seeds) rates.push_back(seed.rate);
  Table table{.header = {"design", "objective", "fleet", "rps", "cost", "power", "machines", "published"},
              .rows = {}};
  table.rows.push_back({"Baseline-H100", "", kBaseline, Text(rates, 1, ""), "1.00x", "1.00x",
                        fmt::format("{}", base.machines), ""});
  for (std::size_t pair = 0; pair < kPairs.size(); ++pair) {
    for (std::size_t goal = 0; goal < kGoals.size(); ++goal) {
      table.rows.push_back(ThroughputRow(seeds, pair, goal, base));
    }
  }
  return table;
}

int Paper(const PaperOptions& options) {
  PaperOptions used = options;
  // The search asks for rates of its own; the load only has to be able to make them.
  if (used.world.rate <= 0) used.world.rate = 70;
  if (used.world.arrivals.empty()) used.world.arrivals = "poisson";
  const auto world = MakeWorld(used.world, {{.machine = "dgx-a100"}, {.machine = "dgx-h100"}});
  if (!world.ok()) return Fail(world.status());
  const auto table =
      used.table == "iso-throughput" ? EqualThroughput(used, *world) : EqualBudget(used, *world);
  if (!table.ok()) return Fail(table.status());
  if (used.world.output == "table") {
    fmt::print("{}, {}, {}, mode {}: nine objectives of the paper, Poisson arrivals, {} seed{}\n", used.table,
               used.workload, used.world.model, used.world.mode, used.world.seeds.size(),
               used.world.seeds.size() == 1 ? "" : "s, 95 % intervals");
    fmt::print("step times: {}\n\n", world->step_times);
  }
  fmt::print("{}", Render(*table, used.world.output));
  return Interrupted() ? kInterrupted : kOk;
}

}  // namespace

void AddPaper(CLI::App& app, int& exit_code) {
  auto* paper = app.add_subcommand(
      "paper", "The tables of Splitwise (ISCA 2024): designs under equal power, cost, rate");
  auto options = std::make_shared<PaperOptions>();
  options->world.model = "bloom-176b";
  paper->add_option("TABLE", options->table, "iso-power, iso-cost or iso-throughput")
      ->required()
      ->check(CLI::IsMember({"iso-power", "iso-cost", "iso-throughput"}));
  paper->add_option("--workload", options->workload, "Whose machine counts: conversation or coding")
      ->check(CLI::IsMember({"conversation", "coding"}))
      ->capture_default_str();
  AddWorldOptions(*paper, options->world);
  paper->footer(
      "--trace takes the Azure trace that the lengths are drawn from:\n"
      "  https://github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv and _code.csv\n"
      "Examples:\n"
      "  baton-sim paper iso-power --trace AzureLLMInferenceTrace_conv.csv --mode splitwise\n"
      "  baton-sim paper iso-throughput --workload coding --trace AzureLLMInferenceTrace_code.csv --seeds "
      "1,2,3");
  RunsAs(*paper, exit_code, [=] { return Paper(*options); });
}

}  // namespace baton::simulator::cli
