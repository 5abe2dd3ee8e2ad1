#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "common/json/value.h"
#include "simulator/plan/pair_search.h"
#include "simulator/report/run_report.h"

namespace baton::simulator {
namespace {

std::string PriceText(const Candidate& candidate) {
  return fmt::format("{} machine{}, {} $/h, {} kW rated", candidate.machines,
                     candidate.machines == 1 ? "" : "s", Number(candidate.dollars_per_hour),
                     Number(candidate.watts / 1e3));
}

std::string ProbeText(const Probe& probe) {
  if (probe.binding == "no machine") return "leaves no machine for the phase";
  return fmt::format("{} at {} of its limit", probe.binding.empty() ? "nothing" : probe.binding,
                     PercentText(probe.tightest));
}

json::Value AsValue(const Candidate& candidate) {
  return json::Object{{"fleet", FormatFleet(candidate.fleet)},
                      {"machines", candidate.machines},
                      {"dollars_per_hour", candidate.dollars_per_hour},
                      {"rated_watts", candidate.watts},
                      {"rate", candidate.rate},
                      {"feasible", candidate.probe.feasible},
                      {"tightest", candidate.probe.tightest},
                      {"binding", candidate.probe.binding}};
}

}  // namespace

Table DesignsTable(const std::vector<Candidate>& designs) {
  Table table{.header = {"fleet", "machines", "$/h", "kW rated", "requests/s", "tightest", "binding"},
              .rows = {}};
  for (const Candidate& design : designs) {
    table.rows.push_back({FormatFleet(design.fleet), fmt::format("{}", design.machines),
                          Number(design.dollars_per_hour), Number(design.watts / 1e3), Number(design.rate),
                          PercentText(design.probe.tightest), design.probe.binding});
  }
  return table;
}

std::string RecommendationText(const Recommendation& found, const SearchOptions& options,
                               const std::string& step_times) {
  std::string out;
  const auto line = std::back_inserter(out);
  if (!found.best && found.interrupted) {
    fmt::format_to(line, "Interrupted after {} simulations, before any fleet was found.\n",
                   found.evaluations);
    return out;
  }
  if (!found.best) {
    const std::string bound =
        options.objective <= Objective::kFewestMachines
            ? fmt::format(", with up to {} times the machines of a type that analysis expects",
                          kSearchedTimes)
            : "";
    fmt::format_to(line, "No fleet of the allowed machines meets the objectives{}{} ({} simulations).\n",
                   options.budget.Unlimited() ? "" : " within the budget", bound, found.evaluations);
    return out;
  }
  const Candidate& best = *found.best;
  fmt::format_to(line, "{:<16}{}\n{:<16}{} requests/s: {}\n", NameOf(options.objective),
                 FormatFleet(best.fleet), "", Number(best.rate), PriceText(best));
  fmt::format_to(line, "{:<16}{}\n", "binding", ProbeText(best.probe));
  if (found.headroom > 0.98) {
    fmt::format_to(line, "{:<16}the rate may double\n", "headroom");
  } else {
    fmt::format_to(line, "{:<16}the rate may grow by {:.0f} %\n", "headroom", found.headroom * 100);
  }
  for (const Neighbour& neighbour : found.one_less) {
    fmt::format_to(line, "{:<16}of {}: {}{}\n", "one less", neighbour.pool,
                   ProbeText(neighbour.candidate.probe),
                   neighbour.candidate.probe.feasible ? " (still holds, yet serves the objective less)" : "");
  }
  if (found.spare) {
    fmt::format_to(line, "{:<16}{}: {}\n", "N+1", FormatFleet(found.spare->fleet), PriceText(*found.spare));
  }
  if (found.runner_up) {
    fmt::format_to(line, "{:<16}{}: {}\n", "runner-up", FormatFleet(found.runner_up->fleet),
                   PriceText(*found.runner_up));
  } else {
    fmt::format_to(line, "{:<16}no other pair of types within 15 %\n", "runner-up");
  }
  fmt::format_to(line, "{:<16}{}\n", "step times", step_times);
  fmt::format_to(line, "{:<16}{} simulations{}\n", "searched", found.evaluations,
                 found.interrupted ? ", interrupted: this is the best so far" : "");
  return out;
}

std::string RecommendationJson(const Recommendation& found, const SearchOptions& options,
                               const std::string& step_times) {
  json::Object object{{"schema_version", 1},
                      {"objective", std::string(NameOf(options.objective))},
                      {"step_times", step_times},
                      {"evaluations", found.evaluations},
                      {"interrupted", found.interrupted},
                      {"headroom", found.headroom}};
  const auto add = [&](const char* name, const std::optional<Candidate>& candidate) {
    object.emplace_back(name, candidate ? AsValue(*candidate) : json::Value());
  };
  add("best", found.best);
  add("runner_up", found.runner_up);
  add("spare", found.spare);
  json::Array designs;
  for (const Candidate& design : found.designs) designs.push_back(AsValue(design));
  object.emplace_back("designs", std::move(designs));
  json::Array less;
  for (const Neighbour& neighbour : found.one_less) {
    less.push_back(json::Object{{"pool", neighbour.pool}, {"candidate", AsValue(neighbour.candidate)}});
  }
  object.emplace_back("one_less", std::move(less));
  return json::Serialize(json::Value(std::move(object))) + "\n";
}

}  // namespace baton::simulator
