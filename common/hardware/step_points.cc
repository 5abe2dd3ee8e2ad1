#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/error.h"
#include "common/hardware/measured_points.h"

namespace baton::hardware {
namespace {

constexpr std::size_t kStepsMin = 3;    // of one kind; fewer have no median
constexpr std::size_t kKindsMax = 100;  // of a phase: a fit takes their cube, and so many span what occurs

enum Phase : std::int64_t { kPrompt = 1, kDecode = 2 };
/// Phase, sequences, tokens, cached tokens; all but the phase in half octaves.
using Kind = std::array<std::int64_t, 4>;
using Steps = std::vector<const StepRow*>;

/// 0 for 1, 2 for 2, 3 for 3, 4 for 4, 5 for 5 and 6, ...; -1 for nothing.
std::int64_t HalfOctave(double x) {
  return x < 1 ? -1 : static_cast<std::int64_t>(std::llround(2 * std::log2(x)));
}

double ContextOf(const StepRow& step) {
  return static_cast<double>(step.context_tokens) / static_cast<double>(step.decodes);
}

Kind KindOf(const StepRow& step) {
  if (step.decodes > 0)
    return {kDecode, HalfOctave(static_cast<double>(step.decodes)), HalfOctave(ContextOf(step)), 0};
  return {kPrompt, HalfOctave(static_cast<double>(step.prompts)),
          HalfOctave(static_cast<double>(step.prompt_tokens)),
          HalfOctave(static_cast<double>(step.cached_tokens))};
}

/// Of `total`, the part of the `index`th of `parts` equal ones.
std::int64_t Share(std::int64_t total, std::int64_t parts, std::int64_t index) {
  return total / parts + (index < total % parts ? 1 : 0);
}

/// The step of the median time stands for its kind, with what itself computed.
MeasuredPoint MakePoint(const Kind& kind, Steps steps) {
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::nth_element(steps.begin(), middle, steps.end(), [](const StepRow* a, const StepRow* b) {
    return std::pair(a->seconds, a->line) < std::pair(b->seconds, b->line);
  });
  const StepRow& step = **middle;
  MeasuredPoint point;
  if (step.decodes > 0) {
    point.decodes = step.decodes;
    point.context = ContextOf(step);
    point.token_s = step.seconds;
    point.token_times = {step.seconds};
    point.shape = {kind[0], kind[1], 0};
  } else {
    for (std::int64_t i = 0; i < step.prompts; ++i) {
      point.prompts.push_back({.tokens = Share(step.prompt_tokens, step.prompts, i),
                               .cached = Share(step.cached_tokens, step.prompts, i)});
    }
    point.prompt_s = step.seconds;
    point.prompt_times = {step.seconds};
    point.shape = {kind[0], kind[2], 0};
  }
  return point;
}

void Exclude(const ConfigurationKey& key, std::size_t rows, std::string reason, GroupedPoints& grouped) {
  grouped.excluded.push_back({.model = std::get<0>(key),
                              .device = std::get<1>(key),
                              .tensor_parallel = std::get<2>(key),
                              .rows = static_cast<std::int64_t>(rows),
                              .reason = std::move(reason)});
}

/// The points of one configuration's steps.
std::vector<MeasuredPoint> PointsOf(const ConfigurationKey& key, const Steps& steps, GroupedPoints& grouped) {
  std::map<Kind, Steps> kinds;
  std::size_t mixed = 0;
  for (const StepRow* step : steps) {
    if (step->prompts > 0 && step->decodes > 0) {
      ++mixed;
    } else {
      kinds[KindOf(*step)].push_back(step);
    }
  }
  if (mixed > 0) Exclude(key, mixed, "mixed: prompts and decodes in one step", grouped);
  std::vector<std::map<Kind, Steps>::const_iterator> by_steps;
  for (auto kind = kinds.cbegin(); kind != kinds.cend(); ++kind) by_steps.push_back(kind);
  std::stable_sort(by_steps.begin(), by_steps.end(),
                   [](auto a, auto b) { return a->second.size() > b->second.size(); });
  std::vector<MeasuredPoint> points;
  std::array<std::size_t, 3> taken{};
  std::size_t rare = 0;
  std::size_t beyond = 0;
  for (const auto& kind : by_steps) {
    std::size_t& phase = taken.at(static_cast<std::size_t>(kind->first[0]));
    if (kind->second.size() < kStepsMin) {
      rare += kind->second.size();
    } else if (phase == kKindsMax) {
      beyond += kind->second.size();
    } else {
      ++phase;
      points.push_back(MakePoint(kind->first, kind->second));
    }
  }
  if (rare > 0) Exclude(key, rare, fmt::format("rare: fewer than {} steps alike", kStepsMin), grouped);
  if (beyond > 0)
    Exclude(key, beyond, fmt::format("not of the {} commonest kinds of steps", kKindsMax), grouped);
  return points;
}

}  // namespace

absl::StatusOr<GroupedPoints> GroupSteps(std::span<const StepRow> steps, const Catalogue& catalogue) {
  std::map<ConfigurationKey, Steps> all;
  for (const StepRow& step : steps) all[{step.model, step.device, step.tensor_parallel}].push_back(&step);
  GroupedPoints grouped;
  for (const auto& [key, rows] : all) {
    BATON_ASSIGN_OR_RETURN(MeasuredConfiguration made, ConfigurationOf(key, Where(*rows.front()), catalogue));
    made.points = PointsOf(key, rows, grouped);
    grouped.configurations.push_back(std::move(made));
  }
  return grouped;
}

}  // namespace baton::hardware
