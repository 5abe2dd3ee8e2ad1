#include <algorithm>
#include <cmath>

#include <catch2/catch.hpp>

#include <fmt/format.h>

#include "common/json/value.h"
#include "tests/support/sequence_runner.h"
#include "tests/support/shared_data.h"

/// What the compute classes lose, on a text that the model knows, against the loss that somebody else's code
/// computed in float64.
namespace baton::engine {
namespace {

using kernels::ComputeClass;

/// Mean negative log-probability of each token after the first.
double Loss(const std::string& directory, const std::vector<TokenId>& ids,
            const kernels::CpuOptions& options) {
  const auto logits = test::SequenceRunner(directory, options).AllLogits(ids, 100);
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

TEST_CASE("f32 has the reference's loss on a text, bf16 and int8 stay within 1 % of its perplexity") {
  const auto model = test::SharedData("demo-model");
  if (!model.has_value()) {
    WARN("skipped: this checkout has no ../shared/data/demo-model");
    return;
  }
  const json::Value root = json::Parse(test::ReadFile(*model + "/reference.json")).value();
  const json::Value& passage = *root.Find("passage");
  std::vector<TokenId> ids;
  for (const json::Value& id : *passage.Find("ids")->AsArray())
    ids.push_back(static_cast<TokenId>(*id.AsInt()));
  const double wanted = passage.Find("nll_sum")->Number() / static_cast<double>(ids.size() - 1);

  CHECK(Loss(*model, ids, {.compute = ComputeClass::kF32}) == Approx(wanted).margin(1e-4));
  for (const std::string& set : kernels::CpuInstructionSets()) {
    for (const ComputeClass compute : {ComputeClass::kBF16, ComputeClass::kInt8}) {
      const double loss = Loss(*model, ids, {.compute = compute, .instruction_set = set});
      fmt::print("perplexity of {} on {}: {:.4f}, reference {:.4f}\n", std::string(kernels::Name(compute)),
                 set, std::exp(loss), std::exp(wanted));
      CHECK(std::abs(loss - wanted) < std::log(1.01));
    }
  }
}

}  // namespace
}  // namespace baton::engine
