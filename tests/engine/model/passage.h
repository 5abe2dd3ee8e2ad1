#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/json/value.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/shared_data.h"

namespace baton::test {

/// A text that the demo model knows.
struct Passage {
  std::string model;
  std::vector<TokenId> ids;
  double loss = 0;  // by somebody else's code, in float64

  /// Mean negative log-probability of each token after the first.
  [[nodiscard]] double Loss(absl::StatusOr<std::unique_ptr<kernels::Backend>> backend) const {
    const auto logits = SequenceRunner(model, std::move(backend)).AllLogits(ids, 100);
    double sum = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const std::vector<float>& row = logits[i];
      const double highest = *std::ranges::max_element(row);
      double total = 0;
      for (const float logit : row) total += std::exp(logit - highest);
      sum -= row[static_cast<std::size_t>(ids[i + 1])] - highest - std::log(total);
    }
    return sum / static_cast<double>(ids.size() - 1);
  }
};

/// Nothing where the checkout has none, which is said aloud.
[[nodiscard]] inline std::optional<Passage> KnownPassage() {
  const auto model = SharedData("demo-model");
  if (!model.has_value()) {
    WARN("skipped: this checkout has no ../shared/data/demo-model");
    return std::nullopt;
  }
  Passage passage{.model = *model, .ids = {}};
  const json::Value root = json::Parse(ReadFile(*model + "/reference.json")).value();
  const json::Value& known = *root.Find("passage");
  for (const json::Value& id : *known.Find("ids")->AsArray())
    passage.ids.push_back(static_cast<TokenId>(*id.AsInt()));
  passage.loss = known.Find("nll_sum")->Number() / static_cast<double>(passage.ids.size() - 1);
  return passage;
}

}  // namespace baton::test
