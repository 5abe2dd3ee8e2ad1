#include "simulator/cli/world_options.h"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "common/base/units.h"
#include "common/config/reader.h"
#include "common/hardware/power.h"
#include "common/hardware/step_tables.h"
#include "simulator/cli/command.h"
#include "simulator/cli/step_times.h"
#include "simulator/plan/parallel.h"
#include "simulator/trace/trace_file.h"

namespace baton::simulator::cli {
namespace {

constexpr double kMadeDuration = 120;  // seconds; the paper provisions by two minutes

/// `trace` is what there is to replay: of --duration alone.
absl::StatusOr<LoadMaker> MakeLoad(const WorldOptions& options, const Workload& trace) {
  if (options.arrivals == "replay") {
    const double own = RateOf(trace);
    if (options.rate > 0 && own <= 0) {
      return Error(kInvalidArgument, "{}: one request has no rate that could be scaled", options.trace);
    }
    auto shared = std::make_shared<const Workload>(trace);
    return LoadMaker([shared, own](double rate, std::uint64_t) -> absl::StatusOr<Workload> {
      return own > 0 && rate > 0 && rate != own ? Scaled(*shared, rate / own) : *shared;
    });
  }
  ArrivalOptions arrivals{.duration_s = options.duration_s > 0 ? options.duration_s : kMadeDuration,
                          .cv = options.cv};
  arrivals.process = options.arrivals == "gamma"  ? ArrivalProcess::kGamma
                     : options.arrivals == "mmpp" ? ArrivalProcess::kMmpp
                                                  : ArrivalProcess::kPoisson;
  auto lengths = std::make_shared<const LengthOptions>(
      LengthOptions{.sample = trace.requests, .paired = options.paired});
  return LoadMaker([arrivals, lengths](double rate, std::uint64_t seed) {
    ArrivalOptions at_rate = arrivals;
    at_rate.rate = rate;
    return Synthesize(at_rate, *lengths, seed);
  });
}

absl::StatusOr<FleetSpec> ReadFleetFile(const std::string& path) {
  BATON_ASSIGN_OR_RETURN(config::Document document, config::Document::Open(path));
  FleetSpec fleet;
  for (const config::Section& section : document.Root().SubList("pools")) {
    PoolSpec pool;
    std::string role;
    section.Choice("role", role, {"prefill", "decode", "mixed"}, config::Section::Need::kRequired);
    section.String("machine", pool.machine, config::Section::Need::kRequired);
    section.Integer("machines", pool.machines, 1, 100'000, config::Section::Need::kRequired);
    section.Integer("tensor_parallel", pool.tensor_parallel, 0, 1024);
    section.Number("gpu_cap_w", pool.gpu_cap_w, 0, 10'000);
    pool.role = role == "prefill"  ? PoolRole::kPrefill
                : role == "decode" ? PoolRole::kDecode
                                   : PoolRole::kMixed;
    fleet.pools.push_back(pool);
  }
  BATON_RETURN_IF_ERROR(document.Finish());
  if (fleet.pools.empty()) return Error(kInvalidArgument, "{}: pools: there is none", path);
  return fleet;
}

void AddNativeOptions(CLI::App& world, WorldOptions& options) {
  world.add_option("--limit-ttft", options.limit_ttft,
                   "Policies cost, pack: time to first token of one request, 500ms; default: by --slo");
  world.add_option("--limit-tbt", options.limit_tbt,
                   "Policies cost, pack: time between tokens of one request, 50ms; default: by --slo");
  world
      .add_option("--fill", options.fill,
                  "Policy pack: a machine is full at this share of the limits by prediction")
      ->check(CLI::Range(0.05, 1.0))
      ->capture_default_str();
  world.add_flag("--reject-early", options.reject_early,
                 "Policies cost, pack: refuse a request that is predicted to miss its limits");
  world.add_option("--energy-price", options.dollars_per_kwh, "Dollars a kWh")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  world.add_option("--pue", options.pue, "What the site draws over what its machines draw")
      ->check(CLI::Range(1.0, 10.0))
      ->capture_default_str();
  world
      .add_option("--park-after", options.park_after_s,
                  "Seconds without work after which a machine is powered down (mode native); default: never")
      ->check(CLI::PositiveNumber);
}

absl::StatusOr<std::shared_ptr<const hardware::Catalogue>> WithTables(const hardware::Catalogue& base,
                                                                      const std::string& path) {
  BATON_ASSIGN_OR_RETURN(const std::vector<hardware::BenchmarkRow> rows, hardware::ReadBenchmarkCsv(path));
  auto tables = hardware::TablesFrom(rows, base);
  if (!tables.ok()) return Annotate(tables.status(), path);
  auto catalogue = std::make_shared<hardware::Catalogue>(base);
  catalogue->ClearTables();  // a machine that the file lacks has none: tables of two engines do not compare
  for (hardware::TimeTable& table : *tables) catalogue->Put(std::move(table));
  return catalogue;
}

absl::StatusOr<NativeSettings> NativeOf(const WorldOptions& options) {
  NativeSettings native;
  native.fill = options.fill;
  native.reject_early = options.reject_early;
  native.park_after_s = options.park_after_s;
  RequestLimits limits;
  for (const auto& [name, text, limit] : {std::tuple("--limit-ttft", &options.limit_ttft, &limits.ttft_s),
                                          std::tuple("--limit-tbt", &options.limit_tbt, &limits.tbt_s)}) {
    if (text->empty()) continue;
    const auto parsed = ParseDuration(*text);
    if (!parsed.ok() || *parsed <= Duration::zero()) {
      return Error(kInvalidArgument, "{} {}: want a time such as 500ms", name, *text);
    }
    *limit = Seconds(*parsed);
  }
  if (limits.ttft_s > 0 || limits.tbt_s > 0) {
    native.limits = [limits](std::int64_t) { return limits; };
  }
  return native;
}

}  // namespace

void AddWorldOptions(CLI::App& app, WorldOptions& options) {
  auto* load = app.add_option_group("Load");
  load->add_option("--trace", options.trace, "A trace in any known format; none: log-normal lengths");
  load->add_option("--rate", options.rate, "Requests a second; default: the trace's own")
      ->check(CLI::PositiveNumber);
  load->add_option(
          "--arrivals", options.arrivals,
          "replay (default with a trace): its arrivals, those of --duration scaled to --rate; or poisson, "
          "gamma, mmpp")
      ->check(CLI::IsMember({"replay", "poisson", "gamma", "mmpp"}));
  load->add_option("--duration", options.duration_s, "Seconds of the trace, or of made arrivals (120)")
      ->check(CLI::PositiveNumber);
  load->add_option("--cv", options.cv, "gamma: variation of the gaps")->capture_default_str();
  load->add_flag("--paired", options.paired, "Draw prompt and output of a made request together");
  auto* world = app.add_option_group("World");
  world->add_option("--model", options.model, "Of the catalogue")->capture_default_str();
  world
      ->add_option("--mode", options.mode,
                   "native: Baton on calibrated models; splitwise: the paper's simulator, exactly")
      ->check(CLI::IsMember({"native", "splitwise"}))
      ->capture_default_str();
  world->add_option(
      "--policy", options.policy,
      "random, round-robin, jsq, token-jsq, mixed-pool, cost, pack, or split-random, ... (docs/POLICY.md); "
      "default: token-jsq for mixed pools alone, mixed-pool for others");
  world
      ->add_option("--repurpose-after", options.repurpose_after_s,
                   "Seconds: a machine that policy mixed-pool has lent for so long stays; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  world
      ->add_option("--step-times", options.step_times,
                   "auto: measured where all machines are, else roofline for all; best: measured or roofline "
                   "by machine; roofline; table (mode native)")
      ->check(CLI::IsMember({"auto", "best", "roofline", "table"}))
      ->capture_default_str();
  world->add_option(
      "--perf-table", options.perf_table,
      "CSV as of calibrate: its medians are the tables of --step-times table, then the default, "
      "and of mode splitwise");
  AddCatalogueOption(*world, options.catalogues, "YAML file with machines, devices and models of yours");
  world->add_option("--slo", options.slo, "paper, or limits: ttft_p99=500ms,tbt_p50=40ms,e2e_p90=3x; none")
      ->capture_default_str();
  world
      ->add_option("--warm-up", options.warm_up_s,
                   "Seconds: what arrives earlier counts in no latency and no objective")
      ->check(CLI::NonNegativeNumber);
  AddNativeOptions(*world, options);
  world->add_option("--seed,--seeds", options.seeds, "One or several: 1,2,3")
      ->delimiter(',')
      ->capture_default_str();
  world->add_option("--jobs", options.jobs, "Threads; 0: all processors. Results do not depend on it")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  world->add_option("--output", options.output, "table, json or csv")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
}

void AddCatalogueOption(CLI::App& app, std::vector<std::string>& paths, const std::string& what) {
  app.add_option("--catalogue", paths, what + "; given again: another one on top")->allow_extra_args(false);
}

absl::StatusOr<std::shared_ptr<const hardware::Catalogue>> LoadCatalogue(
    const std::vector<std::string>& paths) {
  auto catalogue = std::make_shared<hardware::Catalogue>(hardware::Catalogue::BuiltIn());
  for (const std::string& path : paths) {
    BATON_ASSIGN_OR_RETURN(*catalogue, hardware::Catalogue::Load(path, *catalogue));
  }
  return catalogue;
}

std::vector<PoolSpec> PoolsOf(const std::vector<NamedFleet>& fleets) {
  std::vector<PoolSpec> pools;
  for (const NamedFleet& named : fleets) {
    pools.insert(pools.end(), named.fleet.pools.begin(), named.fleet.pools.end());
  }
  return pools;
}

absl::StatusOr<World> MakeWorld(const WorldOptions& given, const std::vector<PoolSpec>& pools) {
  WorldOptions options = given;
  World world;
  BATON_ASSIGN_OR_RETURN(world.catalogue, LoadCatalogue(options.catalogues));
  if (!options.perf_table.empty()) {
    BATON_ASSIGN_OR_RETURN(world.catalogue, WithTables(*world.catalogue, options.perf_table));
    if (options.step_times == "auto") options.step_times = "table";
  }
  BATON_RETURN_IF_ERROR(world.catalogue->FindModel(options.model).status());
  Workload trace;
  if (!options.trace.empty()) {
    BATON_ASSIGN_OR_RETURN(trace, ReadTrace(options.trace));
  }
  if (options.arrivals.empty()) options.arrivals = options.trace.empty() ? "poisson" : "replay";
  if (options.arrivals == "replay" && options.trace.empty()) {
    return Error(kInvalidArgument, "--arrivals replay needs --trace");
  }
  if (options.arrivals == "replay" && options.duration_s > 0) {
    trace = Trimmed(trace, 0, options.duration_s);
    if (trace.requests.empty()) {
      return Error(kInvalidArgument, "{}: nothing arrives in the first {} s", options.trace,
                   options.duration_s);
    }
  }
  world.rate = options.rate > 0 ? options.rate : RateOf(trace);
  if (world.rate <= 0 && options.arrivals != "replay") {
    return Error(kInvalidArgument, "--rate is needed: requests a second");
  }
  Experiment& experiment = world.experiment;
  experiment.catalogue = world.catalogue.get();
  experiment.mode = options.mode == "splitwise" ? Mode::kSplitwise : Mode::kNative;
  experiment.model = options.model;
  experiment.policy = options.policy;
  experiment.seeds = options.seeds;
  experiment.warm_up_s = options.warm_up_s;
  experiment.repurpose_after_s = options.repurpose_after_s;
  experiment.tariff = {.pue = options.pue, .dollars_per_kwh = options.dollars_per_kwh};
  BATON_ASSIGN_OR_RETURN(experiment.native, NativeOf(options));
  experiment.keep_going = [] { return !Interrupted(); };
  if (options.slo != "none") {
    BATON_ASSIGN_OR_RETURN(experiment.slo, ParseSlo(options.slo));
  }
  const bool slowdowns = experiment.slo.slowdown != SloTable{};
  const StepTimes times =
      ChooseStepTimes(*world.catalogue, options.step_times, options.model, pools, slowdowns);
  experiment.step_times = times.kind;
  world.step_times = experiment.mode == Mode::kSplitwise ? "the paper's tables" : times.text;
  if (!options.perf_table.empty() &&
      (experiment.mode == Mode::kSplitwise || times.kind == hardware::PerfKind::kTable)) {
    world.step_times = "table of " + options.perf_table;
  }
  if (slowdowns) {
    BATON_ASSIGN_OR_RETURN(experiment.alone, MakeAloneModel(*world.catalogue, experiment.mode, options.model,
                                                            experiment.step_times));
  }
  BATON_ASSIGN_OR_RETURN(experiment.load, MakeLoad(options, trace));
  return world;
}

absl::StatusOr<NamedFleet> ReadFleet(const std::string& text) {
  if (text.ends_with(".yaml") || text.ends_with(".yml")) {
    BATON_ASSIGN_OR_RETURN(FleetSpec fleet, ReadFleetFile(text));
    return NamedFleet{.name = text, .fleet = std::move(fleet)};
  }
  const std::size_t first = text.find('=');
  const std::size_t second = text.find_first_of("=,", first == std::string::npos ? first : first + 1);
  if (second != std::string::npos && text[second] == '=') {
    BATON_ASSIGN_OR_RETURN(FleetSpec fleet, ParseFleet(std::string_view(text).substr(first + 1)));
    return NamedFleet{.name = text.substr(0, first), .fleet = std::move(fleet)};
  }
  BATON_ASSIGN_OR_RETURN(FleetSpec fleet, ParseFleet(text));
  return NamedFleet{.name = text, .fleet = std::move(fleet)};
}

absl::StatusOr<std::vector<FleetRun>> RunFleets(const World& world, const WorldOptions& options,
                                                const std::vector<NamedFleet>& fleets,
                                                const FleetRunsWanted& wanted) {
  const std::size_t seeds = options.seeds.size();
  std::vector<FleetRun> runs(fleets.size());
  for (std::size_t i = 0; i < fleets.size(); ++i) {
    runs[i].fleet = fleets[i];
    runs[i].figures.resize(seeds);
    runs[i].workload = std::make_shared<Workload>();
    runs[i].result = std::make_shared<RunResult>();
  }
  Mutex mutex;  // guards problem, shares
  absl::Status problem;
  std::vector<double> shares(fleets.size() * seeds, 0);
  Progress progress("simulating");
  ParallelFor(shares.size(), options.jobs, [&](std::size_t job) {
    FleetRun& run = runs[job / seeds];
    const std::uint64_t seed = options.seeds[job % seeds];
    const bool keep = wanted.keep_results && job % seeds == 0;
    RunWanted each{.seed = seed, .timelines = wanted.timelines && keep, .progress = {}, .result = nullptr};
    if (keep) each.result = run.result.get();
    each.progress = [&](double share) {
      const MutexLock lock(mutex);
      shares[job] = share;
      double sum = 0;
      for (const double s : shares) sum += s;
      progress.Show(sum / static_cast<double>(shares.size()));
      return problem.ok();
    };
    absl::StatusOr<Workload> workload = world.experiment.load(wanted.rate, seed);
    absl::StatusOr<Figures> figures = workload.ok()
                                          ? RunOnce(world.experiment, run.fleet.fleet, *workload, each)
                                          : absl::StatusOr<Figures>(workload.status());
    const MutexLock lock(mutex);
    shares[job] = 1;
    if (!figures.ok()) {
      if (problem.ok()) problem = Annotate(figures.status(), run.fleet.name);
      return;
    }
    run.figures[job % seeds] = *std::move(figures);
    if (keep) *run.workload = *std::move(workload);
  });
  BATON_RETURN_IF_ERROR(problem);
  return runs;
}

}  // namespace baton::simulator::cli
