#include "common/hardware/calibrate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "common/base/error.h"
#include "common/hardware/calibrated_model.h"
#include "common/hardware/catalogue_fields.h"
#include "common/hardware/configuration_fit.h"
#include "common/hardware/measured_points.h"

namespace baton::hardware {
namespace {

/// Sums over predictions of one configuration.
class Errors {
 public:
  explicit Errors(const MeasuredConfiguration& configuration)
      : result_{.model = configuration.model.name,
                .device = configuration.device.name,
                .tensor_parallel = configuration.tensor_parallel} {}

  void Add(const MeasuredPoint& point, const PerfModel& model) {
    ++result_.points;
    if (!point.prompt_times.empty())
      prompt_.Add(model.Time(point.PromptWork()), point.prompt_s, point.prompt_times);
    if (!point.token_times.empty())
      token_.Add(model.Time(point.TokenWork()), point.token_s, point.token_times);
  }

  HeldOutError Result() const {
    HeldOutError result = result_;
    result.prompt_points = prompt_.points;
    result.token_points = token_.points;
    result.prompt_mean = prompt_.Mean(prompt_.sum);
    result.token_mean = token_.Mean(token_.sum);
    result.prompt_worst = prompt_.worst;
    result.token_worst = token_.worst;
    result.within_two_sigma = static_cast<double>(prompt_.within + token_.within) /
                              static_cast<double>(std::max<std::int64_t>(prompt_.points + token_.points, 1));
    return result;
  }
  double PromptSigma() const { return std::sqrt(prompt_.Mean(prompt_.squares)); }
  double TokenSigma() const { return std::sqrt(token_.Mean(token_.squares)); }

 private:
  struct OfPhase {
    std::int64_t points = 0;
    std::int64_t within = 0;  // two sigmas
    double sum = 0;
    double worst = 0;
    double squares = 0;  // of logarithms

    void Add(const StepTime& predicted, double median, std::span<const double> measured) {
      double error = 0;
      for (const double seconds : measured) error += std::abs(predicted.seconds / seconds - 1);
      error /= static_cast<double>(measured.size());
      const double log_ratio = std::log(median / predicted.seconds);
      ++points;
      within += std::abs(predicted.seconds - median) <= 2 * predicted.sigma ? 1 : 0;
      sum += error;
      worst = std::max(worst, error);
      squares += log_ratio * log_ratio;
    }
    double Mean(double total) const { return total / static_cast<double>(std::max<std::int64_t>(points, 1)); }
  };

  HeldOutError result_;
  OfPhase prompt_;
  OfPhase token_;
};

/// The other configurations, those of the same device where there are any.
PhaseFits FitOthers(const std::vector<MeasuredConfiguration>& all, std::size_t index) {
  std::vector<const MeasuredConfiguration*> same_device;
  std::vector<const MeasuredConfiguration*> others;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i == index) continue;
    others.push_back(&all[i]);
    if (all[i].device.name == all[index].device.name) same_device.push_back(&all[i]);
  }
  return FitTogether(same_device.empty() ? others : same_device);
}

using Same = bool (*)(const MeasuredPoint&, const MeasuredPoint&);

/// Each point of `configuration` predicted by a fit that sees no point that is the `same`.
Errors LeaveOut(const MeasuredConfiguration& configuration, const PhaseFits& expected, Same same,
                double prompt_sigma, double token_sigma) {
  Errors errors(configuration);
  for (const MeasuredPoint& held : configuration.points) {
    Calibration calibration =
        FitOne(configuration, expected, [&](const MeasuredPoint& point) { return !same(point, held); });
    calibration.prompt_sigma = prompt_sigma;
    calibration.token_sigma = token_sigma;
    errors.Add(held, *MakeCalibratedModel(calibration, configuration.model, configuration.device));
  }
  return errors;
}

bool SamePoint(const MeasuredPoint& a, const MeasuredPoint& b) {
  return &a == &b;
}

bool SameShape(const MeasuredPoint& a, const MeasuredPoint& b) {
  return a.shape == b.shape;
}

/// The configuration by the parameters of others alone.
HeldOutError Unseen(const MeasuredConfiguration& configuration, const PhaseFits& expected) {
  const Calibration calibration{.model = configuration.model.name,
                                .device = configuration.device.name,
                                .tensor_parallel = configuration.tensor_parallel,
                                .prompt = expected.prompt,
                                .token = expected.token};
  const auto model = MakeCalibratedModel(calibration, configuration.model, configuration.device);
  Errors errors(configuration);
  for (const MeasuredPoint& point : configuration.points) errors.Add(point, *model);
  return errors.Result();
}

}  // namespace

HeldOutError MeanOf(std::span<const HeldOutError> errors) {
  HeldOutError mean{.model = "all", .device = "all", .tensor_parallel = 0};
  for (const HeldOutError& error : errors) {
    const auto prompts = static_cast<double>(error.prompt_points);
    const auto tokens = static_cast<double>(error.token_points);
    mean.points += error.points;
    mean.prompt_points += error.prompt_points;
    mean.token_points += error.token_points;
    mean.prompt_mean += prompts * error.prompt_mean;
    mean.token_mean += tokens * error.token_mean;
    mean.within_two_sigma += (prompts + tokens) * error.within_two_sigma;
    mean.prompt_worst = std::max(mean.prompt_worst, error.prompt_worst);
    mean.token_worst = std::max(mean.token_worst, error.token_worst);
  }
  const auto prompts = static_cast<double>(std::max<std::int64_t>(mean.prompt_points, 1));
  const auto tokens = static_cast<double>(std::max<std::int64_t>(mean.token_points, 1));
  mean.prompt_mean /= prompts;
  mean.token_mean /= tokens;
  mean.within_two_sigma /= prompts + tokens;
  return mean;
}

absl::StatusOr<CalibrationReport> Calibrate(const Measurements& measured, const Catalogue& catalogue) {
  BATON_ASSIGN_OR_RETURN(GroupedPoints grouped, GroupAll(measured, catalogue));
  CalibrationReport report;
  report.excluded = std::move(grouped.excluded);
  const std::vector<MeasuredConfiguration>& all = grouped.configurations;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const PhaseFits expected = FitOthers(all, i);
    // How wrong it is on left-out points is its uncertainty, so they are gone through twice.
    const Errors sigmas = LeaveOut(all[i], expected, SamePoint, 0, 0);
    Calibration calibration = FitOne(all[i], expected, [](const MeasuredPoint&) { return true; });
    calibration.prompt_sigma = sigmas.PromptSigma();
    calibration.token_sigma = sigmas.TokenSigma();
    const auto left_out = [&](Same same) {
      return LeaveOut(all[i], expected, same, calibration.prompt_sigma, calibration.token_sigma).Result();
    };
    report.left_out_points.push_back(left_out(SamePoint));
    report.left_out_shapes.push_back(left_out(SameShape));
    if (all.size() > 1) report.unseen_configurations.push_back(Unseen(all[i], expected));
    report.calibrations.push_back(std::move(calibration));
  }
  return report;
}

std::string FormatCalibrationFile(const CalibrationReport& report) {
  return FormatCalibrations(report.calibrations);
}

}  // namespace baton::hardware
