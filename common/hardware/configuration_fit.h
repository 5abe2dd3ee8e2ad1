#pragma once

#include <functional>
#include <vector>

#include "common/hardware/calibration.h"
#include "common/hardware/measured_points.h"

/// The formulas of one configuration, or of several of one device, fitted to points. Private to this module.
namespace baton::hardware {

/// Which points of a configuration a fit may see.
using PointFilter = std::function<bool(const MeasuredPoint&)>;

struct PhaseFits {
  PromptFit prompt;
  TokenFit token;
};

/// One set of parameters for all these configurations; what was known before is near what calibration.h says.
[[nodiscard]] PhaseFits FitTogether(const std::vector<const MeasuredConfiguration*>& configurations);

/// The parameters and residuals of one configuration, which is near `expected`.
[[nodiscard]] Calibration FitOne(const MeasuredConfiguration& configuration, const PhaseFits& expected,
                                 const PointFilter& may_see);

}  // namespace baton::hardware
