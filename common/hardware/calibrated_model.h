#pragma once

#include <memory>

#include "common/hardware/perf_model.h"
#include "common/hardware/residual.h"

namespace baton::hardware {

/// How far measured points reach. Prompts: their times are smooth in tokens, and hardly differ with the
/// number of prompts. Decoding: in sequences, and hardly in context. Chosen once, on all configurations
/// together.
inline constexpr ResidualKernel kPromptKernel = {
    .amplitude = 0.1, .noise = 0.04, .tokens_scale = 1.5, .spread_scale = 6};
inline constexpr ResidualKernel kTokenKernel = {
    .amplitude = 0.06, .noise = 0.015, .tokens_scale = 2, .spread_scale = 2};

/// Seconds of a step of prompts (with `decodes` beside them) by the fitted formula, without the residual.
[[nodiscard]] double PromptFormula(const PromptFit& fit, const ModelShape& model, const Device& device,
                                   int tensor_parallel, const StepWork& work);
/// Seconds of a step of decodes likewise.
[[nodiscard]] double TokenFormula(const TokenFit& fit, const ModelShape& model, const Device& device,
                                  int tensor_parallel, const StepWork& work);

/// Formula times exp(residual). Mixed steps and chunks behind cached tokens are composed of both formulas and
/// flagged as extrapolated: nothing like them was measured.
[[nodiscard]] std::unique_ptr<PerfModel> MakeCalibratedModel(const Calibration& calibration,
                                                             const ModelShape& model, const Device& device);

}  // namespace baton::hardware
