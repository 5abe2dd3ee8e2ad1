#include "common/hardware/configuration_fit.h"

#include <array>
#include <cmath>

#include "common/hardware/calibrated_model.h"
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

PromptFit PromptFrom(std::span<const double> parameters, const PromptFit& base) {
  PromptFit fit = base;
  fit.layer_us = parameters[0];
  fit.efficiency = parameters[1];
  fit.smooth = parameters[2];
  fit.knee_loss = parameters[3];
  return fit;
}

TokenFit TokenFrom(std::span<const double> parameters, const TokenFit& base) {
  TokenFit fit = base;
  fit.layer_us = parameters[0];
  fit.weight_efficiency = parameters[1];
  fit.smooth = parameters[2];
  fit.kv_efficiency = parameters[3];
  fit.sequence_us = parameters[4];
  fit.crowd_us = parameters[5];
  return fit;
}

struct Sample {
  const BenchmarkConfiguration* configuration;
  const BenchmarkPoint* point;
};

double PromptLogRatio(const Sample& sample, const PromptFit& fit) {
  const BenchmarkConfiguration& at = *sample.configuration;
  return std::log(sample.point->prompt_s /
                  PromptFormula(fit, at.model, at.device, at.tensor_parallel, sample.point->PromptWork()));
}

double TokenLogRatio(const Sample& sample, const TokenFit& fit) {
  const BenchmarkConfiguration& at = *sample.configuration;
  return std::log(sample.point->token_s /
                  TokenFormula(fit, at.model, at.device, at.tensor_parallel, sample.point->TokenWork()));
}

PhaseFits Fit(const std::vector<Sample>& samples, const PhaseFits& expected, double spread, double doubt) {
  PhaseFits fits;
  fits.prompt = PromptFrom(FitPositive(Priors(expected.prompt, spread), samples.size(),
                                       [&](std::span<const double> parameters, std::span<double> errors) {
                                         const PromptFit fit = PromptFrom(parameters, expected.prompt);
                                         for (std::size_t i = 0; i < samples.size(); ++i) {
                                           errors[i] =
                                               PromptLogRatio(samples[i], fit) / (kPromptTrust * doubt);
                                         }
                                       }),
                           expected.prompt);
  fits.token = TokenFrom(FitPositive(Priors(expected.token, spread), samples.size(),
                                     [&](std::span<const double> parameters, std::span<double> errors) {
                                       const TokenFit fit = TokenFrom(parameters, expected.token);
                                       for (std::size_t i = 0; i < samples.size(); ++i) {
                                         errors[i] = TokenLogRatio(samples[i], fit) / (kTokenTrust * doubt);
                                       }
                                     }),
                         expected.token);
  return fits;
}

}  // namespace

PhaseFits FitTogether(const std::vector<const BenchmarkConfiguration*>& configurations) {
  std::vector<Sample> samples;
  for (const BenchmarkConfiguration* configuration : configurations) {
    for (const BenchmarkPoint& point : configuration->points) samples.push_back({configuration, &point});
  }
  return samples.empty() ? PhaseFits{} : Fit(samples, PhaseFits{}, kPooledSpread, kPooledDoubt);
}

Calibration FitOne(const BenchmarkConfiguration& configuration, const PhaseFits& expected,
                   const PointFilter& may_see) {
  std::vector<Sample> samples;
  for (const BenchmarkPoint& point : configuration.points) {
    if (may_see(point)) samples.push_back({&configuration, &point});
  }
  const PhaseFits fits = Fit(samples, expected, kOneSpread, 1);
  Calibration calibration{.model = configuration.model.name,
                          .device = configuration.device.name,
                          .tensor_parallel = configuration.tensor_parallel,
                          .prompt = fits.prompt,
                          .token = fits.token};
  for (const Sample& sample : samples) {
    const auto batch = static_cast<double>(sample.point->batch);
    calibration.prompt_residual.push_back({.tokens = batch * static_cast<double>(sample.point->prompt_tokens),
                                           .spread = batch,
                                           .log_ratio = PromptLogRatio(sample, fits.prompt)});
    calibration.token_residual.push_back(
        {.tokens = batch, .spread = sample.point->context, .log_ratio = TokenLogRatio(sample, fits.token)});
  }
  return calibration;
}

}  // namespace baton::hardware
