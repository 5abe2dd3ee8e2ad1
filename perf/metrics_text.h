#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>

namespace baton::perf {

/// Pairs of label name and value.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// The samples of a Prometheus text exposition.
class MetricsText {
 public:
  struct Sample {
    std::string name;
    Labels labels;
    double value = 0;
  };

  /// InvalidArgument names the line that is no sample.
  [[nodiscard]] static absl::StatusOr<MetricsText> Parse(std::string_view text);

  /// The sum of `name` over the samples that carry all of `labels`; 0 where there is none (ask `Has`).
  [[nodiscard]] double Sum(std::string_view name, const Labels& labels = {}) const;
  [[nodiscard]] bool Has(std::string_view name, const Labels& labels = {}) const;
  [[nodiscard]] const std::vector<Sample>& Samples() const { return samples_; }

 private:
  std::vector<Sample> samples_;
};

}  // namespace baton::perf
