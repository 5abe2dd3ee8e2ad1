#include "common/hardware/table_model.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::hardware {
namespace {

// One batch of prompts and decodes costs this much more than prompts of as many tokens: the paper's
// simulator.
constexpr double kMixedFactor = 1.1;
// The paper reports less than 3 % error of such a table where it was measured.
constexpr double kTableSigma = 0.03;

std::vector<double> FromMilliseconds(std::vector<double> milliseconds) {
  for (double& value : milliseconds) value /= 1000;
  return milliseconds;
}

struct Totals {
  std::int64_t prompts = 0;
  std::int64_t tokens = 0;
};

Totals Sum(const StepWork& work) {
  Totals totals;
  for (const PromptPiece& piece : work.prompts) {
    ++totals.prompts;
    totals.tokens += piece.tokens;
  }
  return totals;
}

class ReferenceModel final : public PerfModel {
 public:
  explicit ReferenceModel(const TimeTable& table) : times_(table) {}

  StepTime Time(const StepWork& work) const override {
    const Totals totals = Sum(work);
    if (totals.prompts == 0 && work.decodes == 0) return {};
    const double seconds = times_.Seconds(totals.prompts, totals.tokens, work.decodes);
    return {.seconds = seconds,
            .sigma = kTableSigma * seconds,
            .extrapolated = !times_.Covers(totals.tokens + work.decodes)};
  }

 private:
  ReferenceTimes times_;
};

class TableModel final : public PerfModel {
 public:
  explicit TableModel(const TimeTable& table)
      : prompt_(table.tokens, FromMilliseconds(table.prompt_ms)),
        token_(table.tokens, FromMilliseconds(table.token_ms)) {}

  StepTime Time(const StepWork& work) const override {
    const Totals totals = Sum(work);
    StepTime time;
    if (totals.prompts > 0) {
      const auto tokens = static_cast<double>(totals.tokens + work.decodes);
      time.seconds = prompt_(tokens) * (work.decodes > 0 ? kMixedFactor : 1);
      time.extrapolated = !prompt_.Covers(tokens) || work.decodes > 0;
    } else if (work.decodes > 0) {
      const auto key = static_cast<double>(work.decode_context);
      time.seconds = token_(key);
      time.extrapolated = !token_.Covers(key);
    }
    time.sigma = kTableSigma * time.seconds;
    return time;
  }

 private:
  PiecewiseLinear prompt_;
  PiecewiseLinear token_;
};

}  // namespace

PiecewiseLinear::PiecewiseLinear(std::vector<double> x, std::vector<double> y)
    : x_(std::move(x)), y_(std::move(y)) {
  BATON_CHECK(x_.size() == y_.size() && x_.size() >= 2, "{} and {} knots", x_.size(), y_.size());
  BATON_CHECK(std::is_sorted(x_.begin(), x_.end(), std::less_equal<>()), "knots do not rise");
}

double PiecewiseLinear::operator()(double x) const {
  const auto above = static_cast<std::size_t>(std::lower_bound(x_.begin(), x_.end(), x) - x_.begin());
  const std::size_t high = std::clamp<std::size_t>(above, 1, x_.size() - 1);
  const std::size_t low = high - 1;
  // In this order: the paper's simulator rounds so, and its results are compared bit by bit.
  const double slope = (y_[high] - y_[low]) / (x_[high] - x_[low]);
  const double value = slope * (x - x_[low]) + y_[low];
  return value >= 0 || Covers(x) ? value : x < x_.front() ? y_.front() : y_.back();
}

absl::Status CheckTable(const TimeTable& table) {
  for (const auto& [name, times] :
       {std::pair("prompt_ms", &table.prompt_ms), {"token_ms", &table.token_ms}}) {
    const std::vector<double>& x = table.tokens;
    const std::vector<double>& y = *times;
    const double one = y[0] - (y[1] - y[0]) / (x[1] - x[0]) * (x[0] - 1);
    if (one > 0) continue;
    return Error(
        kInvalidArgument,
        "table of times for {} on {} with tensor_parallel {}: {}: the line through {} at {} tokens and {} "
        "at {} gives {:.3g} for one token; add a knot of few tokens",
        table.model, table.machine, table.tensor_parallel, name, y[0], x[0], y[1], x[1], one);
  }
  return absl::OkStatus();
}

double ReferenceWeightBytes(const ModelShape& model) {
  return model.reference_weight_bytes > 0 ? model.reference_weight_bytes : model.WeightBytes();
}

ReferenceTimes::ReferenceTimes(const TimeTable& table)
    : prompt_(table.tokens, FromMilliseconds(table.prompt_ms)),
      token_(table.tokens, FromMilliseconds(table.token_ms)) {}

double ReferenceTimes::Seconds(std::int64_t prompts, std::int64_t tokens, std::int64_t decodes) const {
  const auto key = static_cast<double>(tokens + decodes);
  if (prompts == 0) return token_(key);
  const double seconds = prompt_(key);
  return decodes == 0 ? seconds : seconds * kMixedFactor;
}

bool ReferenceTimes::Covers(std::int64_t tokens) const {
  return prompt_.Covers(static_cast<double>(tokens));
}

std::unique_ptr<PerfModel> MakeReferenceModel(const TimeTable& table) {
  return std::make_unique<ReferenceModel>(table);
}

std::unique_ptr<PerfModel> MakeTableModel(const TimeTable& table) {
  return std::make_unique<TableModel>(table);
}

}  // namespace baton::hardware
