#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include <CLI/CLI.hpp>

#include "common/base/error.h"
#include "common/base/mutex.h"
#include "simulator/cli/command.h"
#include "simulator/cli/world_options.h"
#include "simulator/plan/parallel.h"
#include "simulator/report/run_report.h"
#include "simulator/trace/trace_file.h"

namespace baton::simulator::cli {
namespace {

constexpr std::size_t kPointsMost = 1'000'000;  // of all shards together
constexpr std::int64_t kRangeMost = 1'000'000;  // more machines than anybody has

struct SweepOptions {
  WorldOptions world;
  std::vector<std::string> fleets;
  std::string rates;
  std::string shard = "0/1";
  std::string out = "-";
};

absl::StatusOr<std::int64_t> Whole(std::string_view text, std::string_view of) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return Error(kInvalidArgument, "{}: '{}' is no whole number", of, text);
  }
  return value;
}

/// "20..30" or "20..30:5" or "7": the numbers from, to, step.
absl::StatusOr<std::vector<std::int64_t>> Range(std::string_view text, std::string_view of) {
  const std::size_t dots = text.find("..");
  if (dots == std::string_view::npos) {
    BATON_ASSIGN_OR_RETURN(const std::int64_t only, Whole(text, of));
    return std::vector{only};
  }
  const std::size_t colon = std::min(text.find(':'), text.size());
  BATON_ASSIGN_OR_RETURN(const std::int64_t from, Whole(text.substr(0, dots), of));
  BATON_ASSIGN_OR_RETURN(const std::int64_t to, Whole(text.substr(dots + 2, colon - dots - 2), of));
  std::int64_t step = 1;
  if (colon < text.size()) {
    BATON_ASSIGN_OR_RETURN(step, Whole(text.substr(colon + 1), of));
  }
  if (step == 0 || to < from || to > kRangeMost || (to - from) / step > 100'000) {
    return Error(kInvalidArgument, "{}: '{}' is no range such as 20..30 or 20..100:10, up to {}", of, text,
                 kRangeMost);
  }
  std::vector<std::int64_t> values;
  for (std::int64_t value = from; value <= to; value += step) values.push_back(value);
  return values;
}

/// All fleets of a text whose machine counts may be ranges.
absl::StatusOr<std::vector<std::string>> Expand(const std::string& text) {
  const std::size_t dots = text.find("..");
  if (dots == std::string::npos || text.ends_with(".yaml")) return std::vector{text};
  const std::size_t begin = text.find_last_of('=', dots) + 1;
  const std::size_t end = text.find('x', dots);
  if (begin == 0 || end == std::string::npos)
    return Error(kInvalidArgument, "fleet '{}': a range without machines", text);
  BATON_ASSIGN_OR_RETURN(const std::vector<std::int64_t> counts,
                         Range(text.substr(begin, end - begin), text));
  std::vector<std::string> all;
  for (const std::int64_t count : counts) {
    BATON_ASSIGN_OR_RETURN(const std::vector<std::string> rest,
                           Expand(fmt::format("{}{}{}", text.substr(0, begin), count, text.substr(end))));
    all.insert(all.end(), rest.begin(), rest.end());
    if (all.size() > kPointsMost)
      return Error(kResourceExhausted, "fleet '{}': more than {} fleets", text, kPointsMost);
  }
  return all;
}

struct Point {
  std::size_t index = 0;
  std::size_t of = 0;     // all shards together
  std::size_t fleet = 0;  // index
  double rate = 0;
  std::uint64_t seed = 0;
};

absl::StatusOr<double> Rate(std::string_view text, std::string_view of) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0 && value < 1e9)) {
    return Error(kInvalidArgument, "--rates: '{}': '{}' is no number above 0", of, text);
  }
  return value;
}

/// "30..160:10", "0.5,1,2.5", or both together.
absl::StatusOr<std::vector<double>> Rates(std::string_view text) {
  std::vector<double> rates;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::size_t dots = part.find("..");
    if (dots == std::string_view::npos) {
      BATON_ASSIGN_OR_RETURN(const double only, Rate(part, part));
      rates.push_back(only);
    } else {
      const std::size_t colon = std::min(part.find(':'), part.size());
      BATON_ASSIGN_OR_RETURN(const double from, Rate(part.substr(0, dots), part));
      BATON_ASSIGN_OR_RETURN(const double to, Rate(part.substr(dots + 2, colon - dots - 2), part));
      double step = 1;
      if (colon < part.size()) {
        BATON_ASSIGN_OR_RETURN(step, Rate(part.substr(colon + 1), part));
      }
      if (to < from || (to - from) / step > 100'000) {
        return Error(kInvalidArgument, "--rates: '{}' is no range such as 30..160:10", part);
      }
      // Not by adding up: the last one is to be there.
      const auto steps = static_cast<int>((to - from) / step + 1e-9);
      for (int i = 0; i <= steps; ++i) rates.push_back(from + i * step);
    }
    if (rates.size() > kPointsMost) return Error(kResourceExhausted, "--rates: more than {}", kPointsMost);
    if (comma == std::string_view::npos) return rates;
    text.remove_prefix(comma + 1);
  }
}

absl::StatusOr<std::vector<NamedFleet>> FleetsOf(const std::vector<std::string>& texts) {
  std::vector<NamedFleet> fleets;
  for (const std::string& text : texts) {
    BATON_ASSIGN_OR_RETURN(const std::vector<std::string> all, Expand(text));
    for (const std::string& each : all) {
      BATON_ASSIGN_OR_RETURN(NamedFleet fleet, ReadFleet(each));
      fleets.push_back(std::move(fleet));
    }
    if (fleets.size() > kPointsMost)
      return Error(kResourceExhausted, "sweep: more than {} fleets", kPointsMost);
  }
  return fleets;
}

absl::StatusOr<std::vector<Point>> PointsOf(const SweepOptions& options,
                                            const std::vector<NamedFleet>& fleets, double own_rate) {
  std::vector<double> rates{own_rate};
  if (!options.rates.empty()) {
    BATON_ASSIGN_OR_RETURN(rates, Rates(options.rates));
  }
  const std::size_t slash = options.shard.find('/');
  BATON_ASSIGN_OR_RETURN(const std::int64_t shard,
                         Whole(std::string_view(options.shard).substr(0, slash), "--shard"));
  std::int64_t shards = 0;
  if (slash != std::string::npos) {
    BATON_ASSIGN_OR_RETURN(shards, Whole(std::string_view(options.shard).substr(slash + 1), "--shard"));
  }
  if (shard >= shards)
    return Error(kInvalidArgument, "--shard: '{}': want i/n with i from 0 to n-1", options.shard);
  const std::vector<std::uint64_t>& seeds = options.world.seeds;
  const std::size_t all = fleets.size() * rates.size();  // at most 1e12
  if (all > kPointsMost / std::max<std::size_t>(seeds.size(), 1)) {
    return Error(kResourceExhausted, "sweep: {} fleets x {} rates x {} seeds are more than {} points",
                 fleets.size(), rates.size(), seeds.size(), kPointsMost);
  }
  std::vector<Point> points;
  std::size_t index = 0;
  for (std::size_t fleet = 0; fleet < fleets.size(); ++fleet) {
    for (const double rate : rates) {
      for (const std::uint64_t seed : seeds) {
        const std::size_t at = index++;
        if (static_cast<std::int64_t>(at % static_cast<std::size_t>(shards)) != shard) continue;
        points.push_back({.index = at, .of = all * seeds.size(), .fleet = fleet, .rate = rate, .seed = seed});
      }
    }
  }
  return points;
}

std::vector<std::string> HeaderRow() {
  std::vector<std::string> header{"point", "points",  "fleet",   "rate",
                                  "seed",  "slo_met", "binding", "unstable"};
  for (const FigureKind& kind : FigureKinds()) header.push_back(kind.name);
  return header;
}

std::vector<std::string> RowOf(const Point& point, const std::string& fleet, const Figures& figures) {
  std::vector<std::string> row{
      fmt::format("{}", point.index),  fmt::format("{}", point.of),      fleet,
      fmt::format("{:g}", point.rate), fmt::format("{}", point.seed),    figures.verdict.met ? "1" : "0",
      figures.verdict.binding,         figures.backlog_grows ? "1" : "0"};
  for (const FigureKind& kind : FigureKinds()) {
    const double value = kind.of(figures);
    row.push_back(std::isnan(value) ? "" : fmt::format("{:.6g}", value));  // an empty cell: not known
  }
  return row;
}

int Sweep(const SweepOptions& options) {
  const auto fleets = FleetsOf(options.fleets);
  if (!fleets.ok()) return Fail(fleets.status());
  WorldOptions load = options.world;
  if (load.rate <= 0 && !options.rates.empty()) load.rate = 1;  // each point has its own
  const auto world = MakeWorld(load, PoolsOf(*fleets));
  if (!world.ok()) return Fail(world.status());
  std::fprintf(stderr, "step times: %s\n", world->step_times.c_str());
  const auto points = PointsOf(options, *fleets, world->rate);
  if (!points.ok()) return Fail(points.status());
  std::vector<std::vector<std::string>> rows(points->size());
  Mutex mutex;  // guards problem, done
  absl::Status problem;
  double done = 0;
  {
    Progress progress("points");
    ParallelFor(points->size(), options.world.jobs, [&](std::size_t i) {
      if (Interrupted()) return;
      const Point& point = (*points)[i];
      const NamedFleet& fleet = (*fleets)[point.fleet];
      const auto workload = world->experiment.load(point.rate, point.seed);
      auto figures = workload.ok() ? RunOnce(world->experiment, fleet.fleet, *workload, {.seed = point.seed})
                                   : absl::StatusOr<Figures>(workload.status());
      const MutexLock lock(mutex);
      progress.Show(++done / static_cast<double>(points->size()));
      if (!figures.ok()) {
        if (problem.ok()) problem = Annotate(figures.status(), fleet.name);
      } else if (!figures->interrupted) {
        rows[i] = RowOf(point, fleet.name, *figures);
      }
    });
  }
  if (!problem.ok()) return Fail(problem);
  Table table{.header = HeaderRow(), .rows = {}};
  for (auto& row : rows) {
    if (!row.empty()) table.rows.push_back(std::move(row));
  }
  const absl::Status written = WriteText(options.out, Render(table, options.world.output));
  if (!written.ok()) return Fail(written);
  return Interrupted() ? kInterrupted : kOk;
}

int Merge(const std::vector<std::string>& paths, const std::string& out) {
  std::string header;
  std::map<std::int64_t, std::string> lines;
  std::int64_t total = 0;  // points that there should be
  for (const std::string& path : paths) {
    std::ifstream file(path);
    if (!file) return Fail(Error(kNotFound, "{}: cannot be read", path));
    std::string line;
    if (file.peek() == std::ifstream::traits_type::eof())
      return Fail(Error(kInvalidArgument, "{}: is empty, no CSV of baton-sim sweep", path));
    for (int number = 1; std::getline(file, line); ++number) {
      if (number == 1) {
        if (!line.starts_with("point,points,"))
          return Fail(Error(kInvalidArgument, "{}:1: no CSV of baton-sim sweep", path));
        if (!header.empty() && header != line)
          return Fail(Error(kInvalidArgument, "{}:1: other columns than before", path));
        header = line;
        continue;
      }
      const std::size_t comma = line.find(',');
      const std::size_t next = comma == std::string::npos ? comma : line.find(',', comma + 1);
      const std::string where = fmt::format("{}:{}: point", path, number);
      const auto point = Whole(std::string_view(line).substr(0, comma), where);
      if (!point.ok()) return Fail(point.status());
      const absl::StatusOr<std::int64_t> of =
          next == std::string::npos
              ? absl::StatusOr<std::int64_t>(Error(kInvalidArgument, "{}s: is missing", where))
              : Whole(std::string_view(line).substr(comma + 1, next - comma - 1), where + "s");
      if (!of.ok()) return Fail(of.status());
      if (*point >= *of || (total > 0 && *of != total))
        return Fail(Error(kInvalidArgument, "{} {} of {}: is of another sweep{}", where, *point, *of,
                          total > 0 ? fmt::format("; before, there were {}", total) : ""));
      total = *of;
      if (const auto [at, fresh] = lines.emplace(*point, line); !fresh && at->second != line) {
        return Fail(
            Error(kInvalidArgument, "{}:{}: point {} has two different results", path, number, *point));
      }
    }
  }
  if (lines.empty()) return Fail(Error(kInvalidArgument, "{}: no points", fmt::join(paths, ", ")));
  std::string text = header + "\n";
  for (const auto& [point, line] : lines) text += line + "\n";
  constexpr std::int64_t kNamed = 10;
  std::vector<std::int64_t> missing;  // the first of them
  for (std::int64_t point = 0; point < total && std::ssize(missing) < kNamed; ++point) {
    if (!lines.contains(point)) missing.push_back(point);
  }
  const absl::Status written = WriteText(out, text);
  if (!written.ok()) return Fail(written);
  if (missing.empty()) return kOk;
  const std::int64_t count = total - std::ssize(lines);
  return Fail(Error(kInvalidArgument, "of {} points {} are missing: {}{}; the others are in {}", total, count,
                    fmt::join(missing, ", "), count > std::ssize(missing) ? ", ..." : "",
                    out == "-" ? "the output" : out));
}

}  // namespace

void AddSweep(CLI::App& app, int& exit_code) {
  auto* sweep =
      app.add_subcommand("sweep", "Many fleets at many rates, one row each; in shards on many computers");
  auto options = std::make_shared<SweepOptions>();
  options->world.output = "csv";
  sweep
      ->add_option("FLEETS", options->fleets,
                   "Counts may be ranges: prefill=20..30xdgx-h100,decode=5..15:5xdgx-h100")
      ->required();
  sweep->add_option("--rates", options->rates, "Requests a second: 30..160:10 or 0.5,1,2.5");
  sweep->add_option("--shard", options->shard, "i/n: every n-th point from i on")->capture_default_str();
  sweep->add_option("--out", options->out, "File; - is the standard output")->capture_default_str();
  AddWorldOptions(*sweep, options->world);
  sweep->footer(
      "Examples:\n"
      "  baton-sim sweep mixed=40xdgx-h100 --rates 30..160:10 --trace conv.csv --arrivals poisson\n"
      "  sbatch --array 0-63 --wrap 'baton-sim sweep ... --shard $SLURM_ARRAY_TASK_ID/64 --out "
      "$SLURM_ARRAY_TASK_ID.csv'\n"
      "  baton-sim merge *.csv --out all.csv");
  RunsAs(*sweep, exit_code, [=] { return Sweep(*options); });
  auto* merge = app.add_subcommand("merge", "Puts the shards of a sweep together");
  auto paths = std::make_shared<std::vector<std::string>>();
  auto out = std::make_shared<std::string>("-");
  merge->add_option("FILES", *paths, "CSV files of baton-sim sweep")->required();
  merge->add_option("--out", *out, "File; - is the standard output")->capture_default_str();
  merge->footer(
      "Example: baton-sim merge 0.csv 1.csv 2.csv --out all.csv\n"
      "Exits with 2 where points are missing; what there is has been written.");
  RunsAs(*merge, exit_code, [=] { return Merge(*paths, *out); });
}

}  // namespace baton::simulator::cli
