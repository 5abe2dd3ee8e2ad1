#pragma once

#include <string>
#include <utility>
#include <vector>

#include "simulator/plan/figures.h"
#include "simulator/plan/search.h"
#include "simulator/report/table.h"
#include "simulator/run.h"

/// Runs and recommendations as tables, files and pages.
namespace baton::simulator {

/// One design under one load; `figures` of each seed.
struct NamedRun {
  std::string name;  // "HH" or the fleet's text
  FleetSpec fleet;
  std::vector<Figures> figures;
};

/// One value of each run as a figure: a name, a unit and how it is read.
struct FigureKind {
  std::string name;  // "ttft_p99_ms"
  double (*of)(const Figures&);
  bool less_is_better = true;
};
[[nodiscard]] const std::vector<FigureKind>& FigureKinds();

/// A row for each figure, a column for each run: means over seeds, with 95 % intervals where there are
/// several. With `differences`, each run after the first also shows its change against the first; where seeds
/// are paired, with the interval of the paired differences.
[[nodiscard]] Table SummaryTable(const std::vector<NamedRun>& runs, bool differences);
/// Measured against each limit of `slo`, one row a limit.
[[nodiscard]] Table SloTableOf(const SloVerdict& verdict, const Slo& slo);
/// One object with "schema_version": runs, seeds, figures and verdicts; on what step times they rest, in
/// words.
[[nodiscard]] std::string RunsAsJson(const std::vector<NamedRun>& runs,
                                     const std::vector<std::uint64_t>& seeds, const Slo& slo,
                                     const std::string& step_times);

/// The columns of the reference's results: request_ids, response_times, queue_times, ttft_times, tbt_times,
/// nth_token_overheads, prompt_sizes, token_sizes; in order of completion, done ones only.
[[nodiscard]] std::string RequestsAsCsv(const Workload& workload, const RunResult& result);

/// Machines, power and requests as a Chrome trace, for ui.perfetto.dev. `requests_most` bounds the requests
/// shown.
[[nodiscard]] std::string AsPerfetto(const Workload& workload, const RunResult& result,
                                     std::size_t requests_most = 20'000);

/// A run's page: summary, objectives, CDFs, and machine timelines where the run kept them.
struct PageRun {
  NamedRun named;
  const Workload* workload = nullptr;
  const RunResult* result = nullptr;
};
[[nodiscard]] std::string RunsPage(const std::string& title, const std::vector<PageRun>& runs,
                                   const Slo& slo);
/// A search's page: what was found, and every design by cost and power.
[[nodiscard]] std::string SearchPage(const std::string& title, const Recommendation& found,
                                     Objective objective);

[[nodiscard]] Table DesignsTable(const std::vector<Candidate>& designs);
[[nodiscard]] std::string RecommendationText(const Recommendation& found, const SearchOptions& options,
                                             const std::string& step_times);
[[nodiscard]] std::string RecommendationJson(const Recommendation& found, const SearchOptions& options,
                                             const std::string& step_times);

}  // namespace baton::simulator
