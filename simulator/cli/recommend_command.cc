#include <cstdio>
#include <limits>
#include <memory>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/report/run_report.h"
#include "simulator/trace/trace_file.h"

namespace baton::simulator::cli {
namespace {

struct RecommendOptions {
  WorldOptions world;
  std::string objective = "cheapest";
  std::vector<std::string> machines{"dgx-a100", "dgx-h100", "dgx-h100-pcap", "hgx-h200"};
  std::string roles = "both";
  double dollars = std::numeric_limits<double>::infinity();
  double watts = std::numeric_limits<double>::infinity();
  double count = std::numeric_limits<double>::infinity();
  std::string html;
};

absl::Status CheckPrices(const RecommendOptions& options, Objective objective,
                         const std::vector<Column>& columns) {
  const bool needs_dollars = objective == Objective::kCheapest || std::isfinite(options.dollars);
  for (const Column& column : columns) {
    if (needs_dollars && column.dollars_per_hour <= 0) {
      return Error(kInvalidArgument,
                   "machine {}: no price in the catalogue; give dollars_per_hour in --catalogue",
                   column.machine);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Column>> ColumnsOf(const RecommendOptions& options, const World& world) {
  BATON_ASSIGN_OR_RETURN(const Workload sample, world.experiment.load(world.rate, options.world.seeds[0]));
  std::vector<std::string> skipped;
  BATON_ASSIGN_OR_RETURN(std::vector<Column> columns,
                         AnalyseColumns(world.experiment, options.machines, sample, world.rate, skipped));
  for (const std::string& reason : skipped) std::fprintf(stderr, "left out: %s\n", reason.c_str());
  std::erase_if(columns, [&](const Column& column) {
    return options.roles != "both" && (options.roles == "mixed") != (column.role == PoolRole::kMixed);
  });
  if (columns.empty()) return Error(kInvalidArgument, "no machine type is left to choose from");
  return columns;
}

int DoRecommend(const RecommendOptions& options) {
  const auto objective = ObjectiveOf(options.objective);
  if (!objective.ok()) return Fail(objective.status());
  std::vector<PoolSpec> pools;
  for (const std::string& machine : options.machines) {
    const auto one = ParseFleet("mixed=1x" + machine);
    if (!one.ok()) return Fail(Error(kInvalidArgument, "--machines: {}", Message(one.status())));
    pools.push_back(one->pools[0]);
  }
  const auto world = MakeWorld(options.world, pools);
  if (!world.ok()) return Fail(world.status());
  if (world->experiment.slo.Empty())
    return Fail(Error(kInvalidArgument, "recommend needs objectives: --slo"));
  const auto columns = ColumnsOf(options, *world);
  if (!columns.ok()) return Fail(columns.status());
  if (const absl::Status priced = CheckPrices(options, *objective, *columns); !priced.ok())
    return Fail(priced);
  SearchOptions search{
      .objective = *objective,
      .rate = world->rate,
      .budget = {.dollars_per_hour = options.dollars, .watts = options.watts, .machines = options.count},
      .jobs = options.world.jobs,
      .progress = {}};
  absl::StatusOr<Recommendation> found;
  {
    Progress progress("simulated fleets");
    search.progress = [&](int evaluations) {
      progress.Count(evaluations);
      return !Interrupted();
    };
    found = Recommend(*columns, MakeEvaluator(world->experiment), search);
  }
  if (!found.ok()) return Fail(found.status());
  if (options.world.output == "json") {
    fmt::print("{}", RecommendationJson(*found, search, world->step_times));
  } else if (options.world.output == "csv") {
    fmt::print("{}", DesignsTable(found->designs).AsCsv());
  } else {
    fmt::print("{}", RecommendationText(*found, search, world->step_times));
    if (!found->designs.empty()) fmt::print("\n{}", DesignsTable(found->designs).AsText());
  }
  if (!options.html.empty()) {
    const absl::Status written = WriteText(options.html, SearchPage("Recommended fleet", *found, *objective));
    if (!written.ok()) return Fail(written);
  }
  if (Interrupted()) return kInterrupted;
  return found->best ? kOk : kInfeasible;
}

}  // namespace

void AddRecommend(CLI::App& app, int& exit_code) {
  auto* recommend = app.add_subcommand("recommend", "Which fleet to buy for a load, objectives and a budget");
  auto options = std::make_shared<RecommendOptions>();
  recommend
      ->add_option("--objective", options->objective,
                   "cheapest, lowest-power, fewest-machines, fastest, max-rate")
      ->check(CLI::IsMember({"cheapest", "lowest-power", "fewest-machines", "fastest", "max-rate"}))
      ->capture_default_str();
  recommend
      ->add_option(
          "--machines", options->machines,
          "Types that may be bought, of the catalogue; GPUs of an instance: dgx-h100/4; cap of each: "
          "dgx-h100@350w")
      ->delimiter(',')
      ->capture_default_str();
  recommend->add_option("--roles", options->roles, "split (prefill and decode apart), mixed, or both")
      ->check(CLI::IsMember({"split", "mixed", "both"}))
      ->capture_default_str();
  recommend->add_option("--budget-dollars", options->dollars, "An hour")->check(CLI::PositiveNumber);
  recommend->add_option("--budget-watts", options->watts, "Rated power of all machines")
      ->check(CLI::PositiveNumber);
  recommend->add_option("--budget-machines", options->count, "How many at most")->check(CLI::PositiveNumber);
  recommend->add_option("--html", options->html, "A page with every design by cost and power");
  AddWorldOptions(*recommend, options->world);
  recommend->footer(
      "Examples:\n"
      "  baton-sim recommend --trace conv.csv --arrivals poisson --rate 70 --objective cheapest\n"
      "  baton-sim recommend --trace conv.csv --arrivals poisson --rate 70 --objective max-rate "
      "--budget-watts 408000\n"
      "  baton-sim recommend --rate 10 --slo ttft_p99=1s,tbt_p99=60ms --machines dgx-h100,l40s-x8 --output "
      "json\n"
      "Exits with 3 where no fleet meets the objectives.");
  RunsAs(*recommend, exit_code, [=] { return DoRecommend(*options); });
}

}  // namespace baton::simulator::cli
