#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "simulator/plan/evaluation.h"
#include "simulator/trace/synthesis.h"

namespace CLI {
class App;
}

/// The options that all simulating commands share, and what they amount to.
namespace baton::simulator::cli {

struct WorldOptions {
  std::string trace;
  double rate = 0;  // 0: the trace's own
  std::string arrivals;
  double duration_s = 0;  // 0: the trace's own, or 120 s of made arrivals
  double cv = 1;
  bool paired = false;
  std::vector<std::string> catalogues;
  std::string model = "llama2-70b";
  std::string mode = "native";
  std::string policy;
  std::string slo = "paper";
  std::vector<std::uint64_t> seeds{0};
  double warm_up_s = 0;
  double repurpose_after_s = 0;
  std::string limit_ttft;  // of one request, for policies cost and pack; empty: from the objectives
  std::string limit_tbt;
  double fill = 0.95;
  bool reject_early = false;
  double park_after_s = 0;
  std::string step_times = "auto";
  std::string perf_table;
  double dollars_per_kwh = 0.10;
  double pue = 1.2;
  int jobs = 0;
  std::string output = "table";
};

void AddWorldOptions(CLI::App& app, WorldOptions& options);

struct World {
  std::shared_ptr<const hardware::Catalogue> catalogue;
  Experiment experiment;   // of this catalogue and load
  double rate = 0;         // that the options ask for
  std::string step_times;  // on what the times of steps rest, in words
};
/// Reads trace and catalogue; errors name file, line and field. `pools` are all that are to be compared.
[[nodiscard]] absl::StatusOr<World> MakeWorld(const WorldOptions& options,
                                              const std::vector<PoolSpec>& pools);
/// The built-in catalogue with these files on top, one after the other.
[[nodiscard]] absl::StatusOr<std::shared_ptr<const hardware::Catalogue>> LoadCatalogue(
    const std::vector<std::string>& paths);
/// --catalogue, which may be given several times.
void AddCatalogueOption(CLI::App& app, std::vector<std::string>& paths, const std::string& what);

/// "AA=prefill=55xdgx-a100,decode=15xdgx-a100": a name before the fleet, or the text of the fleet itself as
/// name; a text that ends with .yaml is a file with `pools`.
struct NamedFleet {
  std::string name;
  FleetSpec fleet;
};
[[nodiscard]] absl::StatusOr<NamedFleet> ReadFleet(const std::string& text);

[[nodiscard]] std::vector<PoolSpec> PoolsOf(const std::vector<NamedFleet>& fleets);

/// Every fleet under every seed, on all cores, in order of `fleets`. On interruption all are there, and the
/// figures of those that had not ended say so.
struct FleetRun {
  NamedFleet fleet;
  std::vector<Figures> figures;        // of each seed
  std::shared_ptr<Workload> workload;  // of the first seed, where results are kept
  std::shared_ptr<RunResult> result;
};
struct FleetRunsWanted {
  double rate = 0;
  bool keep_results = false;  // of the first seed
  bool timelines = false;
};
[[nodiscard]] absl::StatusOr<std::vector<FleetRun>> RunFleets(const World& world, const WorldOptions& options,
                                                              const std::vector<NamedFleet>& fleets,
                                                              const FleetRunsWanted& wanted);

}  // namespace baton::simulator::cli
