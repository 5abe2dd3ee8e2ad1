#include <cmath>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "tests/engine/model/passage.h"

/// What the compute classes lose, on a text that the model knows, against the loss that somebody else's code
/// computed in float64.
namespace baton::engine {
namespace {

using kernels::ComputeClass;

TEST_CASE("f32 has the reference's loss on a text, bf16 and int8 stay within 1 % of its perplexity") {
  const auto passage = test::KnownPassage();
  if (!passage.has_value()) return;
  const double wanted = passage->loss;
  const auto loss_of = [&](const kernels::CpuOptions& options) {
    return passage->Loss(kernels::CreateCpuBackend(options));
  };

  CHECK(loss_of({.compute = ComputeClass::kF32}) == Approx(wanted).margin(1e-4));
  for (const std::string& set : kernels::CpuInstructionSets()) {
    for (const ComputeClass compute : {ComputeClass::kBF16, ComputeClass::kInt8}) {
      const double loss = loss_of({.compute = compute, .instruction_set = set});
      fmt::print("perplexity of {} on {}: {:.4f}, reference {:.4f}\n", std::string(kernels::Name(compute)),
                 set, std::exp(loss), std::exp(wanted));
      CHECK(std::abs(loss - wanted) < std::log(1.01));
    }
  }
}

}  // namespace
}  // namespace baton::engine
