#include "common/hardware/calibrated_model.h"

#include <algorithm>
#include <cmath>

#include "common/hardware/roofline.h"

namespace baton::hardware {
namespace {

constexpr double kMicrosecond = 1e-6;
// Of a step that mixes prompts and decodes, on top of both parts' own: the paper takes 1.1 prompts for one.
constexpr double kMixedSigma = 0.1;

double PromptTokens(const StepWork& work) {
  double tokens = 0;
  for (const PromptPiece& piece : work.prompts) tokens += static_cast<double>(piece.tokens);
  return tokens;
}

/// What decoding adds to the reading of weights: KV, and the engine's work for each sequence.
double SequenceSeconds(const TokenFit& fit, const ModelShape& model, const Device& device,
                       const StepCost& cost, double sequences) {
  const double crowded = std::max(0.0, sequences - fit.crowd);
  return cost.decode_kv_bytes / (fit.kv_efficiency * device.bandwidth) +
         model.layers * (fit.sequence_us * sequences + fit.crowd_us * crowded) * kMicrosecond;
}

class CalibratedModel final : public PerfModel {
 public:
  CalibratedModel(const Calibration& calibration, const ModelShape& model, const Device& device)
      : calibration_(calibration),
        model_(model),
        device_(device),
        prompt_(calibration.prompt_residual, kPromptKernel),
        token_(calibration.token_residual, kTokenKernel) {}

  StepTime Time(const StepWork& work) const override {
    const double prompt_tokens = PromptTokens(work);
    if (prompt_tokens <= 0 && work.decodes == 0) return {};
    StepTime time = prompt_tokens > 0 ? PromptTime(work, prompt_tokens) : TokenTime(work);
    const StepCost cost = CostOf(model_, calibration_.tensor_parallel, work);
    time.bandwidth_share = std::min(1.0, cost.Bytes() / (time.seconds * device_.bandwidth));
    time.flops_share = std::min(1.0, cost.Flops() / (time.seconds * device_.bf16_flops));
    return time;
  }

 private:
  StepTime PromptTime(const StepWork& work, double prompt_tokens) const {
    const int degree = calibration_.tensor_parallel;
    const double tokens = prompt_tokens + static_cast<double>(work.decodes);
    const auto prompts = static_cast<double>(work.prompts.size());
    const ResidualCurve::Value residual = prompt_.At(tokens, prompts);
    const bool cached = std::any_of(work.prompts.begin(), work.prompts.end(),
                                    [](const PromptPiece& piece) { return piece.cached > 0; });
    StepTime time;
    time.seconds =
        PromptFormula(calibration_.prompt, model_, device_, degree, work) * std::exp(residual.mean);
    double relative = std::hypot(residual.sigma, calibration_.prompt_sigma);
    if (work.decodes > 0) {
      time.seconds += SequenceSeconds(calibration_.token, model_, device_, CostOf(model_, degree, work),
                                      static_cast<double>(work.decodes));
      relative = std::hypot(relative, kMixedSigma);
    }
    time.sigma = relative * time.seconds;
    time.extrapolated = cached || work.decodes > 0 || !prompt_.Covers(tokens, prompts);
    return time;
  }

  StepTime TokenTime(const StepWork& work) const {
    const auto sequences = static_cast<double>(work.decodes);
    const double context = std::max(1.0, static_cast<double>(work.decode_context) / sequences);
    const ResidualCurve::Value residual = token_.At(sequences, context);
    StepTime time;
    time.seconds = TokenFormula(calibration_.token, model_, device_, calibration_.tensor_parallel, work) *
                   std::exp(residual.mean);
    time.sigma = std::hypot(residual.sigma, calibration_.token_sigma) * time.seconds;
    time.extrapolated = !token_.Covers(sequences, context);
    return time;
  }

  const Calibration calibration_;
  const ModelShape model_;
  const Device device_;
  const ResidualCurve prompt_;
  const ResidualCurve token_;
};

}  // namespace

double PromptFormula(const PromptFit& fit, const ModelShape& model, const Device& device, int tensor_parallel,
                     const StepWork& work) {
  const StepCost cost = CostOf(model, tensor_parallel, work);
  const double compute = cost.Flops() / (fit.efficiency * device.bf16_flops) +
                         2 * model.layers * AllReduceSeconds(device, tensor_parallel, cost.allreduce_bytes);
  const double tokens = PromptTokens(work) + static_cast<double>(work.decodes);
  const double beyond = std::clamp(std::log2(tokens / fit.knee_tokens), 0.0, 1.0);
  return SmoothMax(model.layers * fit.layer_us * kMicrosecond, compute, fit.smooth) *
         (1 + fit.knee_loss * beyond);
}

double TokenFormula(const TokenFit& fit, const ModelShape& model, const Device& device, int tensor_parallel,
                    const StepWork& work) {
  const StepCost cost = CostOf(model, tensor_parallel, work);
  return SmoothMax(model.layers * fit.layer_us * kMicrosecond,
                   cost.weight_bytes / (fit.weight_efficiency * device.bandwidth), fit.smooth) +
         SequenceSeconds(fit, model, device, cost, static_cast<double>(work.decodes));
}

std::unique_ptr<PerfModel> MakeCalibratedModel(const Calibration& calibration, const ModelShape& model,
                                               const Device& device) {
  return std::make_unique<CalibratedModel>(calibration, model, device);
}

}  // namespace baton::hardware
