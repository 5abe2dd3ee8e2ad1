#include "engine/worker/compute.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::engine {
namespace {

using kernels::ComputeClass;

absl::StatusOr<std::string> Gpu() {
  return std::string("NVIDIA H200");
}
absl::StatusOr<std::string> NoGpu() {
  return Error(kFailedPrecondition, "no GPU can be used: the driver lists none");
}

TEST_CASE("auto computes on a GPU where there is one, else on the CPU, and says why") {
  const auto on_gpu = ChooseBackend({.device = 3}, {{.compute = ComputeClass::kBF16}}, Gpu());
  const auto on_cpu = ChooseBackend({}, {{.compute = ComputeClass::kBF16}}, NoGpu());

  REQUIRE(on_gpu.ok());
  CHECK(on_gpu->cuda);
  CHECK(on_gpu->why == "GPU 3, NVIDIA H200");
  REQUIRE(on_cpu.ok());
  CHECK_FALSE(on_cpu->cuda);
  CHECK(on_cpu->why == "no GPU can be used: the driver lists none");
}

TEST_CASE("auto leaves a class that GPUs do not have to the CPU; cuda refuses it") {
  CHECK_FALSE(ChooseBackend({}, {{.compute = ComputeClass::kInt8}}, Gpu())->cuda);

  const auto refused =
      ChooseBackend({.backend = BackendChoice::kCuda}, {{.compute = ComputeClass::kInt8}}, Gpu());

  CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Message(refused.status()).find("compute.class is int8") != std::string::npos);
}

TEST_CASE("blocks and a KV type of its own are the CPU's") {
  const kernels::CpuOptions wide{.compute = ComputeClass::kBF16, .kv = kernels::DType::kF32};
  const kernels::CpuOptions own{.compute = ComputeClass::kBF16, .kv = kernels::DType::kBF16};

  CHECK_FALSE(ChooseBackend({}, {.cpu = wide}, Gpu())->cuda);
  CHECK(ChooseBackend({}, {.cpu = own}, Gpu())->cuda);
  CHECK_FALSE(ChooseBackend({}, {.block_tokens = 32}, Gpu())->cuda);
  const auto refused = ChooseBackend({.backend = BackendChoice::kCuda}, {.block_tokens = 32}, Gpu());

  CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Message(refused.status()).find("kv.block_tokens is 32") != std::string::npos);
}

TEST_CASE("ranks have GPUs of their own, one after another; where they are too few the CPU or an error") {
  const DeviceConfig from_two{.device = 2};
  CHECK(ChooseBackend(from_two, {.ranks = 4}, Gpu())->why == "GPUs 2 to 5, NVIDIA H200");

  const DeviceConfig far{.backend = BackendChoice::kCuda, .device = 200};
  const auto refused = ChooseBackend(far, {.ranks = 2});

  CHECK(refused.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Message(refused.status()).find("compute.backend is cuda: rank 0 of 2 is to have GPU 200") == 0);
  const auto on_cpu = ChooseBackend({.device = 200}, {.ranks = 2});
  REQUIRE(on_cpu.ok());
  CHECK_FALSE(on_cpu->cuda);
}

TEST_CASE("an order of the libraries' own is refused in class f32, which has none") {
  const DeviceConfig fast{.backend = BackendChoice::kCuda, .invariant = false};
  CHECK(ChooseBackend(fast, {{.compute = ComputeClass::kBF16}}, Gpu())->cuda);

  const auto refused = ChooseBackend(fast, {{.compute = ComputeClass::kF32}}, Gpu());

  CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Message(refused.status()).find("compute.invariant") != std::string::npos);
}

TEST_CASE("class fp8 is a GPU's alone, and says that its order is not fixed") {
  const ComputeDemand fp8{.cpu = {.compute = ComputeClass::kFp8}};
  const DeviceConfig fast{.invariant = false};
  const auto why = [](const absl::StatusOr<ChosenBackend>& chosen) { return Message(chosen.status()); };

  CHECK(ChooseBackend(fast, fp8, Gpu())->cuda);
  CHECK(why(ChooseBackend(fast, fp8, NoGpu())) ==
        "compute.class is fp8, which GPUs alone have: no GPU can be used: the driver lists none");
  CHECK(why(ChooseBackend({.backend = BackendChoice::kCpu, .invariant = false}, fp8, Gpu())) ==
        "compute.class is fp8, which GPUs alone have: compute.backend is cpu");
  CHECK(why(ChooseBackend({}, fp8, Gpu())).find("say compute.invariant: false") != std::string::npos);
}

TEST_CASE("cpu never asks for a GPU, cuda has one or an error that names the field and what is missing") {
  CHECK_FALSE(
      ChooseBackend({.backend = BackendChoice::kCpu}, {{.compute = ComputeClass::kF32}}, Gpu())->cuda);
  CHECK(ChooseBackend({.backend = BackendChoice::kCuda}, {{.compute = ComputeClass::kF32}}, Gpu())->cuda);

  const auto missing =
      ChooseBackend({.backend = BackendChoice::kCuda}, {{.compute = ComputeClass::kF32}}, NoGpu());

  CHECK(missing.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Message(missing.status()) == "compute.backend is cuda: no GPU can be used: the driver lists none");
}

TEST_CASE("what is chosen for this machine is what opens") {
  const auto chosen = ChooseBackend({}, {{.compute = ComputeClass::kF32}});
  REQUIRE(chosen.ok());
  const auto opened = OpenForRanks({}, {{.compute = ComputeClass::kF32, .threads = 1}});

  REQUIRE(opened.ok());
  CHECK(opened->ranks.front()->Name().starts_with(chosen->cuda ? "cuda/" : "cpu/"));
  const bool there = OpenForRanks({.backend = BackendChoice::kCuda}, {{.compute = ComputeClass::kF32}}).ok();
  CHECK(there == chosen->cuda);
}

}  // namespace
}  // namespace baton::engine
