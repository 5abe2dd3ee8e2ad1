#include "common/hardware/measured_points.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "common/base/error.h"

namespace baton::hardware {
namespace {

constexpr std::int64_t kPointsMin = 4;  // fewer say nothing about what is left out
constexpr std::int64_t kPointsMax{kCalibrationPointsMax};

ConfigurationKey KeyOf(const MeasuredConfiguration& configuration) {
  return {configuration.model.name, configuration.device.name, configuration.tensor_parallel};
}

absl::Status CheckCount(const MeasuredConfiguration& configuration, std::string_view phase,
                        std::string_view daemon, std::int64_t points) {
  if (points >= kPointsMin && points <= kPointsMax) return absl::OkStatus();
  const std::string what =
      fmt::format("{} on {} with tensor_parallel {}: {} usable points of {}", configuration.model.name,
                  configuration.device.name, configuration.tensor_parallel, points, phase);
  if (points > kPointsMax) return Error(kInvalidArgument, "{}; at most {} are fitted", what, kPointsMax);
  return Error(
      kInvalidArgument, "{}; {} are needed{}", what, kPointsMin,
      points > 0 ? std::string() : fmt::format(" (of telemetry, a {} worker's file has them)", daemon));
}

}  // namespace

StepWork MeasuredPoint::TokenWork() const {
  return {.decodes = decodes,
          .decode_context = static_cast<std::int64_t>(std::llround(context * static_cast<double>(decodes)))};
}

std::int64_t MeasuredPoint::PromptTokens() const {
  std::int64_t tokens = 0;
  for (const PromptPiece& piece : prompts) tokens += piece.tokens;
  return tokens;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

absl::StatusOr<MeasuredConfiguration> ConfigurationOf(const ConfigurationKey& key, const std::string& where,
                                                      const Catalogue& catalogue) {
  const auto model = catalogue.FindModel(std::get<0>(key));
  if (!model.ok()) return Annotate(model.status(), where);
  const auto device = catalogue.FindDevice(std::get<1>(key));
  if (!device.ok()) return Annotate(device.status(), where);
  return MeasuredConfiguration{
      .model = **model, .device = **device, .tensor_parallel = std::get<2>(key), .points = {}};
}

absl::StatusOr<GroupedPoints> GroupAll(const Measurements& measured, const Catalogue& catalogue) {
  BATON_ASSIGN_OR_RETURN(GroupedPoints all, GroupRows(measured.rows, catalogue));
  BATON_ASSIGN_OR_RETURN(GroupedPoints steps, GroupSteps(measured.steps, catalogue));
  all.excluded.insert(all.excluded.end(), std::make_move_iterator(steps.excluded.begin()),
                      std::make_move_iterator(steps.excluded.end()));
  for (MeasuredConfiguration& more : steps.configurations) {
    const auto same =
        std::find_if(all.configurations.begin(), all.configurations.end(),
                     [&](const MeasuredConfiguration& known) { return KeyOf(known) == KeyOf(more); });
    if (same == all.configurations.end()) {
      all.configurations.push_back(std::move(more));
    } else {
      same->points.insert(same->points.end(), std::make_move_iterator(more.points.begin()),
                          std::make_move_iterator(more.points.end()));
    }
  }
  if (all.configurations.empty()) return Error(kInvalidArgument, "no measured rows");
  std::sort(all.configurations.begin(), all.configurations.end(),
            [](const auto& a, const auto& b) { return KeyOf(a) < KeyOf(b); });
  for (const MeasuredConfiguration& configuration : all.configurations) {
    std::int64_t prompts = 0;
    std::int64_t tokens = 0;
    for (const MeasuredPoint& point : configuration.points) {
      prompts += point.prompt_times.empty() ? 0 : 1;
      tokens += point.token_times.empty() ? 0 : 1;
    }
    BATON_RETURN_IF_ERROR(CheckCount(configuration, "prompts", "prefill", prompts));
    BATON_RETURN_IF_ERROR(CheckCount(configuration, "decoding", "decode", tokens));
  }
  return all;
}

}  // namespace baton::hardware
