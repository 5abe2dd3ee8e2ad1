#include "common/hardware/configuration_fit.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/hardware/calibrated_model.h"
#include "common/hardware/catalogue_fields.h"
#include "common/hardware/log_fit.h"

namespace baton::hardware {
namespace {

// How far one device's engine may be from what calibration.h expects of any.
constexpr double kPooledSpread = 1;
// Points of one configuration err together, so that together they say less than as many of different ones.
constexpr double kPooledDoubt = 5;
// How much closer the configurations of one device are to each other.
constexpr double kOneSpread = 0.5;
// What the formulas are trusted to, before the residual: relative.
constexpr double kPromptTrust = 0.08;
constexpr double kTokenTrust = 0.03;

std::vector<LogPrior> Priors(const PromptFit& fit, double spread) {
  return {{fit.layer_us, 0.5 * spread},
          {fit.efficiency, 0.3 * spread},
          {fit.smooth, 0.3 * spread},
          {fit.knee_loss, 1.0 * spread}};
}

std::vector<LogPrior> Priors(const TokenFit& fit, double spread) {
  return {{fit.layer_us, 0.5 * spread},    {fit.weight_efficiency, 0.1 * spread},
          {fit.smooth, 0.3 * spread},      {fit.kv_efficiency, 0.4 * spread},
          {fit.sequence_us, 0.7 * spread}, {fit.crowd_us, 1.0 * spread}};
}

/// 1 adds the two parts up, many take the larger one; below 1 they would be more than their sum.
double Smooth(double parameter) {
  return std::clamp(parameter, 1.0, kSmoothMax);
}

PromptFit PromptFrom(std::span<const double> parameters, const PromptFit& base) {
  PromptFit fit = base;
  fit.layer_us = parameters[0];
  fit.efficiency = parameters[1];
  fit.smooth = Smooth(parameters[2]);
  fit.knee_loss = parameters[3];
  return fit;
}

TokenFit TokenFrom(std::span<const double> parameters, const TokenFit& base) {
  TokenFit fit = base;
  fit.layer_us = parameters[0];
  fit.weight_efficiency = parameters[1];
  fit.smooth = Smooth(parameters[2]);
  fit.kv_efficiency = parameters[3];
  fit.sequence_us = parameters[4];
  fit.crowd_us = parameters[5];
  return fit;
}

struct Sample {
  const MeasuredConfiguration* configuration;
  const MeasuredPoint* point;
};

double PromptLogRatio(const Sample& sample, const PromptFit& fit) {
  const MeasuredConfiguration& at = *sample.configuration;
  return std::log(sample.point->prompt_s /
                  PromptFormula(fit, at.model, at.device, at.tensor_parallel, sample.point->PromptWork()));
}

double TokenLogRatio(const Sample& sample, const TokenFit& fit) {
  const MeasuredConfiguration& at = *sample.configuration;
  return std::log(sample.point->token_s /
                  TokenFormula(fit, at.model, at.device, at.tensor_parallel, sample.point->TokenWork()));
}

/// Points that a fit may see, by the phases that were measured of them.
struct Samples {
  std::vector<Sample> prompts;
  std::vector<Sample> tokens;

  void Add(const MeasuredConfiguration& configuration, const MeasuredPoint& point) {
    if (!point.prompt_times.empty()) prompts.push_back({&configuration, &point});
    if (!point.token_times.empty()) tokens.push_back({&configuration, &point});
  }
};

PhaseFits Fit(const Samples& samples, const PhaseFits& expected, double spread, double doubt) {
  PhaseFits fits;
  fits.prompt =
      PromptFrom(FitPositive(Priors(expected.prompt, spread), samples.prompts.size(),
                             [&](std::span<const double> parameters, std::span<double> errors) {
                               const PromptFit fit = PromptFrom(parameters, expected.prompt);
                               for (std::size_t i = 0; i < samples.prompts.size(); ++i) {
                                 errors[i] = PromptLogRatio(samples.prompts[i], fit) / (kPromptTrust * doubt);
                               }
                             }),
                 expected.prompt);
  fits.token = TokenFrom(FitPositive(Priors(expected.token, spread), samples.tokens.size(),
                                     [&](std::span<const double> parameters, std::span<double> errors) {
                                       const TokenFit fit = TokenFrom(parameters, expected.token);
                                       for (std::size_t i = 0; i < samples.tokens.size(); ++i) {
                                         errors[i] =
                                             TokenLogRatio(samples.tokens[i], fit) / (kTokenTrust * doubt);
                                       }
                                     }),
                         expected.token);
  return fits;
}

}  // namespace

PhaseFits FitTogether(const std::vector<const MeasuredConfiguration*>& configurations) {
  Samples samples;
  for (const MeasuredConfiguration* configuration : configurations) {
    for (const MeasuredPoint& point : configuration->points) samples.Add(*configuration, point);
  }
  return configurations.empty() ? PhaseFits{} : Fit(samples, PhaseFits{}, kPooledSpread, kPooledDoubt);
}

Calibration FitOne(const MeasuredConfiguration& configuration, const PhaseFits& expected,
                   const PointFilter& may_see) {
  Samples samples;
  for (const MeasuredPoint& point : configuration.points) {
    if (may_see(point)) samples.Add(configuration, point);
  }
  const PhaseFits fits = Fit(samples, expected, kOneSpread, 1);
  Calibration calibration{.model = configuration.model.name,
                          .device = configuration.device.name,
                          .tensor_parallel = configuration.tensor_parallel,
                          .prompt = fits.prompt,
                          .token = fits.token};
  for (const Sample& sample : samples.prompts) {
    calibration.prompt_residual.push_back({.tokens = static_cast<double>(sample.point->PromptTokens()),
                                           .spread = static_cast<double>(sample.point->prompts.size()),
                                           .log_ratio = PromptLogRatio(sample, fits.prompt)});
  }
  for (const Sample& sample : samples.tokens) {
    calibration.token_residual.push_back({.tokens = static_cast<double>(sample.point->decodes),
                                          .spread = sample.point->context,
                                          .log_ratio = TokenLogRatio(sample, fits.token)});
  }
  return calibration;
}

}  // namespace baton::hardware
