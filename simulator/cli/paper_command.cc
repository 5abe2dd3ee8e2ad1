#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>

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

std::string Ratio(double value, double base) {
  return base > 0 ? fmt::format("{:.2f}x", value / base) : "";
}

absl::StatusOr<Table> EqualBudget(const PaperOptions& options, const World& world) {
  const std::vector<Design>& designs = Presets().at(options.table + " " + options.workload);
  const Evaluator evaluate = MakeEvaluator(world.experiment);
  std::vector<HighestRate> rates(designs.size());
  std::vector<FleetPrice> prices(designs.size());
  Mutex mutex;  // guards problem, done
  absl::Status problem;
  double done = 0;
  Progress progress("designs");
  ParallelFor(designs.size(), options.world.jobs, [&](std::size_t i) {
    const auto fleet = ParseFleet(designs[i].fleet);
    const auto rate = FindHighestRate(evaluate, *fleet);
    const auto price = PriceOf(*world.catalogue, *fleet);
    const MutexLock lock(mutex);
    progress.Show(++done / static_cast<double>(designs.size()));
    if (!rate.ok() || !price.ok()) {
      problem = rate.ok() ? price.status() : rate.status();
      return;
    }
    rates[i] = *rate;
    prices[i] = *price;
  });
  BATON_RETURN_IF_ERROR(problem);
  Table table{.header = {"design", "fleet", "max_rps", "vs_A100", "vs_H100", "cost", "power", "limited_by",
                         "published"},
              .rows = {}};
  for (std::size_t i = 0; i < designs.size(); ++i) {
    table.rows.push_back({designs[i].name, designs[i].fleet, fmt::format("{:.1f}", rates[i].rate),
                          Ratio(rates[i].rate, rates[0].rate), Ratio(rates[i].rate, rates[1].rate),
                          Ratio(prices[i].cost_weight, prices[1].cost_weight),
                          Ratio(prices[i].power_weight, prices[1].power_weight), rates[i].above.binding,
                          designs[i].published});
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

absl::StatusOr<Table> EqualThroughput(const PaperOptions& options, const World& world) {
  const Evaluator evaluate = MakeEvaluator(world.experiment);
  const auto baseline = ParseFleet("mixed=40xdgx-h100");
  BATON_ASSIGN_OR_RETURN(const HighestRate target, FindHighestRate(evaluate, *baseline));
  if (target.rate <= 0) return Error(kFailedPrecondition, "Baseline-H100 meets the objectives at no rate");
  BATON_ASSIGN_OR_RETURN(const FleetPrice base, PriceOf(*world.catalogue, *baseline));
  BATON_ASSIGN_OR_RETURN(const Workload sample, world.experiment.load(target.rate, options.world.seeds[0]));
  std::vector<std::string> skipped;
  BATON_ASSIGN_OR_RETURN(const std::vector<Column> all,
                         AnalyseColumns(world.experiment, {"dgx-a100", "dgx-h100", "dgx-h100-pcap"}, sample,
                                        target.rate, skipped));
  struct Pair {
    const char* name;
    const char* prefill;
    const char* decode;
    const char* published_cost;
    const char* published_power;
  };
  Table table{.header = {"design", "objective", "fleet", "rps", "cost", "power", "machines", "published"},
              .rows = {}};
  table.rows.push_back({"Baseline-H100", "", FormatFleet(*baseline), fmt::format("{:.1f}", target.rate),
                        "1.00x", "1.00x", "40", ""});
  for (const Pair& pair :
       {Pair{"Baseline-A100", "dgx-a100", "", "", ""}, Pair{"AA", "dgx-a100", "dgx-a100", "-25 % cost", ""},
        Pair{"HH", "dgx-h100", "dgx-h100", "", ""}, Pair{"HA", "dgx-h100", "dgx-a100", "", ""},
        Pair{"HHcap", "dgx-h100", "dgx-h100-pcap", "", "-25 % power"}}) {
    BATON_ASSIGN_OR_RETURN(const std::vector<Column> columns,
                           DesignColumns(world, all, pair.prefill, pair.decode));
    for (const Objective objective : {Objective::kCheapest, Objective::kLowestPower}) {
      const SearchOptions search{.objective = objective,
                                 .rate = target.rate,
                                 .budget = {},
                                 .jobs = options.world.jobs,
                                 .progress = [](int) { return !Interrupted(); }};
      BATON_ASSIGN_OR_RETURN(const Recommendation found, Recommend(columns, evaluate, search));
      const char* published = objective == Objective::kCheapest ? pair.published_cost : pair.published_power;
      if (!found.best) {
        table.rows.push_back({pair.name, std::string(NameOf(objective)), "none", "", "", "", "", published});
        continue;
      }
      table.rows.push_back(
          {pair.name, std::string(NameOf(objective)), FormatFleet(found.best->fleet),
           fmt::format("{:.1f}", target.rate), Ratio(found.best->dollars_per_hour, base.cost_weight),
           Ratio(found.best->watts, base.power_weight), fmt::format("{}", found.best->machines), published});
    }
  }
  return table;
}

int Paper(const PaperOptions& options) {
  PaperOptions used = options;
  // The search asks for rates of its own; the load only has to be able to make them.
  if (used.world.rate <= 0) used.world.rate = 70;
  if (used.world.arrivals.empty()) used.world.arrivals = "poisson";
  const auto world = MakeWorld(used.world);
  if (!world.ok()) return Fail(world.status());
  const auto table =
      used.table == "iso-throughput" ? EqualThroughput(used, *world) : EqualBudget(used, *world);
  if (!table.ok()) return Fail(table.status());
  if (used.world.output == "table") {
    fmt::print("{}, {}, {}, mode {}: nine objectives of the paper, Poisson arrivals\n\n", used.table,
               used.workload, used.world.model, used.world.mode);
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
      "Example: baton-sim paper iso-power --trace AzureLLMInferenceTrace_conv.csv --mode splitwise");
  RunsAs(*paper, exit_code, [=] { return Paper(*options); });
}

}  // namespace baton::simulator::cli
