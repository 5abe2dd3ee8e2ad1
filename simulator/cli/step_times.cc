#include "simulator/cli/step_times.h"

#include <map>

#include <fmt/format.h>

#include "simulator/plan/evaluation.h"

namespace baton::simulator::cli {
namespace {

using hardware::PerfKind;
using hardware::TimesBasis;

/// By machine and degree, as a fleet writes them. What the catalogue lacks is left out: the run names it.
std::map<std::string, TimesBasis> BasesOf(const hardware::Catalogue& catalogue, const std::string& model,
                                          const std::vector<PoolSpec>& pools) {
  std::map<std::string, TimesBasis> bases;
  for (const PoolSpec& pool : pools) {
    const auto basis = hardware::BasisOf(
        catalogue, {.model = model, .machine = pool.machine, .tensor_parallel = pool.tensor_parallel});
    if (!basis.ok()) continue;
    const std::string degree = pool.tensor_parallel > 0 ? fmt::format("/{}", pool.tensor_parallel) : "";
    bases[pool.machine + degree] = *basis;
  }
  return bases;
}

/// The machines whose basis is `kind`: "hgx-h200, l40s-x8".
std::string NamesOf(const std::map<std::string, TimesBasis>& bases, TimesBasis::Kind kind) {
  std::string names;
  for (const auto& [name, basis] : bases) {
    if (basis.kind == kind) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

std::string Each(const std::map<std::string, TimesBasis>& bases) {
  bool same = true;
  for (const auto& [name, basis] : bases) same = same && basis == bases.begin()->second;
  if (same) return bases.empty() ? "" : Describe(bases.begin()->second);
  std::string text;
  for (const auto& [name, basis] : bases) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, Describe(basis));
  }
  return text + "; this compares engines as well as machines";
}

}  // namespace

StepTimes ChooseStepTimes(const hardware::Catalogue& catalogue, const std::string& asked,
                          const std::string& model, const std::vector<PoolSpec>& pools, bool with_alone) {
  std::vector<PoolSpec> all = pools;
  if (with_alone) all.push_back({.machine = kAloneMachine});
  if (asked == "roofline") return {PerfKind::kRoofline, "roofline"};
  if (asked == "table") return {PerfKind::kTable, "table"};
  const std::map<std::string, TimesBasis> bases = BasesOf(catalogue, model, all);
  const std::string measured = NamesOf(bases, TimesBasis::Kind::kMeasured);
  const std::string others = NamesOf(bases, TimesBasis::Kind::kRoofline);
  if (asked == "best" || measured.empty() || others.empty()) return {PerfKind::kBest, Each(bases)};
  return {PerfKind::kRoofline,
          fmt::format("roofline for all, for there are no measurements of {} on {}; --step-times best "
                      "takes those of {}",
                      model, others, measured)};
}

}  // namespace baton::simulator::cli
