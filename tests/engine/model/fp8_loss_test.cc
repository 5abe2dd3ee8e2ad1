// What class fp8 loses, by kernels that the host emulates and a stand-in for cuBLASLt.
#include <cmath>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "kernels/cuda/fast_matmul.h"
#include "tests/engine/model/passage.h"
#include "tests/kernels/cuda/emulated_device.h"

namespace baton::engine {
namespace {

using kernels::ComputeClass;

TEST_CASE("fp8 stays within 2 % of the reference's perplexity on a text that the model knows") {
  const auto passage = test::KnownPassage();
  if (!passage.has_value()) return;
  const auto loss_of = [&](ComputeClass compute) {
    auto device = kernels::cuda::emulated::CreateDevice(2);
    auto fast = *kernels::cuda::OpenCublasLt(*device, FAKE_CUBLASLT);
    return passage->Loss(kernels::cuda::CreateBackendOn(
        std::move(device), {.compute = compute, .invariant = false}, std::move(fast)));
  };

  const double fp8 = loss_of(ComputeClass::kFp8);

  fmt::print("perplexity of fp8, emulated: {:.4f}, reference {:.4f}\n", std::exp(fp8),
             std::exp(passage->loss));
  CHECK(std::abs(fp8 - passage->loss) < std::log(1.02));
}

TEST_CASE("a GPU's fp8 stays within 2 % of the reference's perplexity, or this says that there is none") {
  auto backend = kernels::CreateCudaBackend({.compute = ComputeClass::kFp8, .invariant = false});
  if (!backend.ok()) {
    WARN("SKIPPED: perplexity of fp8 on a GPU: " << Message(backend.status()));
    return;
  }
  const auto passage = test::KnownPassage();
  if (!passage.has_value()) return;

  const double fp8 = passage->Loss(std::move(backend));

  fmt::print("perplexity of fp8 on the GPU: {:.4f}, reference {:.4f}\n", std::exp(fp8),
             std::exp(passage->loss));
  CHECK(std::abs(fp8 - passage->loss) < std::log(1.02));
}

}  // namespace
}  // namespace baton::engine
