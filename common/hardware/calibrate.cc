#include "common/hardware/calibrate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "common/base/error.h"
#include "common/hardware/benchmark_points.h"
#include "common/hardware/calibrated_model.h"
#include "common/hardware/catalogue_fields.h"
#include "common/hardware/configuration_fit.h"

namespace baton::hardware {
namespace {

/// Sums over predictions of one configuration.
class Errors {
 public:
  explicit Errors(const BenchmarkConfiguration& configuration)
      : result_{.model = configuration.model.name,
                .device = configuration.device.name,
                .tensor_parallel = configuration.tensor_parallel} {}

  void Add(const BenchmarkPoint& point, const PerfModel& model) {
    const StepTime prompt = model.Time(point.PromptWork());
    const StepTime token = model.Time(point.TokenWork());
    double prompt_error = 0;
    double token_error = 0;
    for (const BenchmarkRow& row : point.rows) {
      prompt_error += std::abs(prompt.seconds * 1000 / row.prompt_ms - 1);
      token_error += std::abs(token.seconds * 1000 / row.token_ms - 1);
    }
    prompt_error /= static_cast<double>(point.rows.size());
    token_error /= static_cast<double>(point.rows.size());
    ++result_.points;
    result_.prompt_mean += prompt_error;
    result_.token_mean += token_error;
    result_.prompt_worst = std::max(result_.prompt_worst, prompt_error);
    result_.token_worst = std::max(result_.token_worst, token_error);
    within_ += (std::abs(prompt.seconds - point.prompt_s) <= 2 * prompt.sigma ? 1 : 0) +
               (std::abs(token.seconds - point.token_s) <= 2 * token.sigma ? 1 : 0);
    prompt_squares_ += Square(std::log(point.prompt_s / prompt.seconds));
    token_squares_ += Square(std::log(point.token_s / token.seconds));
  }

  HeldOutError Result() const {
    HeldOutError result = result_;
    const auto points = static_cast<double>(std::max<std::int64_t>(result.points, 1));
    result.prompt_mean /= points;
    result.token_mean /= points;
    result.within_two_sigma = within_ / (2 * points);
    return result;
  }
  double PromptSigma() const { return std::sqrt(prompt_squares_ / static_cast<double>(result_.points)); }
  double TokenSigma() const { return std::sqrt(token_squares_ / static_cast<double>(result_.points)); }

 private:
  static double Square(double x) { return x * x; }

  HeldOutError result_;
  double within_ = 0;
  double prompt_squares_ = 0;
  double token_squares_ = 0;
};

/// The other configurations, those of the same device where there are any.
PhaseFits FitOthers(const std::vector<BenchmarkConfiguration>& all, std::size_t index) {
  std::vector<const BenchmarkConfiguration*> same_device;
  std::vector<const BenchmarkConfiguration*> others;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i == index) continue;
    others.push_back(&all[i]);
    if (all[i].device.name == all[index].device.name) same_device.push_back(&all[i]);
  }
  return FitTogether(same_device.empty() ? others : same_device);
}

using Same = bool (*)(const BenchmarkPoint&, const BenchmarkPoint&);

/// Each point of `configuration` predicted by a fit that sees no point that is the `same`.
Errors LeaveOut(const BenchmarkConfiguration& configuration, const PhaseFits& expected, Same same,
                double prompt_sigma, double token_sigma) {
  Errors errors(configuration);
  for (const BenchmarkPoint& held : configuration.points) {
    Calibration calibration =
        FitOne(configuration, expected, [&](const BenchmarkPoint& point) { return !same(point, held); });
    calibration.prompt_sigma = prompt_sigma;
    calibration.token_sigma = token_sigma;
    errors.Add(held, *MakeCalibratedModel(calibration, configuration.model, configuration.device));
  }
  return errors;
}

bool SamePoint(const BenchmarkPoint& a, const BenchmarkPoint& b) {
  return &a == &b;
}

bool SameShape(const BenchmarkPoint& a, const BenchmarkPoint& b) {
  return a.prompt_tokens == b.prompt_tokens && a.batch == b.batch;
}

/// The configuration by the parameters of others alone.
HeldOutError Unseen(const BenchmarkConfiguration& configuration, const PhaseFits& expected) {
  const Calibration calibration{.model = configuration.model.name,
                                .device = configuration.device.name,
                                .tensor_parallel = configuration.tensor_parallel,
                                .prompt = expected.prompt,
                                .token = expected.token};
  const auto model = MakeCalibratedModel(calibration, configuration.model, configuration.device);
  Errors errors(configuration);
  for (const BenchmarkPoint& point : configuration.points) errors.Add(point, *model);
  return errors.Result();
}

}  // namespace

HeldOutError MeanOf(std::span<const HeldOutError> errors) {
  HeldOutError mean{.model = "all", .device = "all", .tensor_parallel = 0};
  for (const HeldOutError& error : errors) {
    const auto points = static_cast<double>(error.points);
    mean.points += error.points;
    mean.prompt_mean += points * error.prompt_mean;
    mean.token_mean += points * error.token_mean;
    mean.within_two_sigma += points * error.within_two_sigma;
    mean.prompt_worst = std::max(mean.prompt_worst, error.prompt_worst);
    mean.token_worst = std::max(mean.token_worst, error.token_worst);
  }
  const auto points = static_cast<double>(std::max<std::int64_t>(mean.points, 1));
  mean.prompt_mean /= points;
  mean.token_mean /= points;
  mean.within_two_sigma /= points;
  return mean;
}

absl::StatusOr<CalibrationReport> Calibrate(std::span<const BenchmarkRow> rows, const Catalogue& catalogue) {
  BATON_ASSIGN_OR_RETURN(GroupedRows grouped, GroupRows(rows, catalogue));
  CalibrationReport report;
  report.excluded = std::move(grouped.excluded);
  const std::vector<BenchmarkConfiguration>& all = grouped.configurations;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const PhaseFits expected = FitOthers(all, i);
    // How wrong it is on left-out points is its uncertainty, so they are gone through twice.
    const Errors sigmas = LeaveOut(all[i], expected, SamePoint, 0, 0);
    Calibration calibration = FitOne(all[i], expected, [](const BenchmarkPoint&) { return true; });
    calibration.prompt_sigma = sigmas.PromptSigma();
    calibration.token_sigma = sigmas.TokenSigma();
    const auto left_out = [&](Same same) {
      return LeaveOut(all[i], expected, same, calibration.prompt_sigma, calibration.token_sigma).Result();
    };
    report.left_out_points.push_back(left_out(SamePoint));
    report.left_out_shapes.push_back(left_out(SameShape));
    report.unseen_configurations.push_back(Unseen(all[i], expected));
    report.calibrations.push_back(std::move(calibration));
  }
  return report;
}

std::string FormatCalibrationFile(const CalibrationReport& report) {
  return FormatCalibrations(report.calibrations);
}

}  // namespace baton::hardware
