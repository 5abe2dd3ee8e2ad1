#include <catch2/catch.hpp>

#include "kernels/cuda/fast_matmul.h"
#include "tests/decode/worker_pair.h"
#include "tests/kernels/cuda/emulated_device.h"

/// Whole workers on a GPU that the host emulates: its queue runs late, and whoever touches its memory while
/// no kernel runs ends the test with a fault. Paired with each other and with workers on the CPU.
namespace baton::decode {
namespace {

using kernels::ComputeClass;
using test::On;
using test::Pair;
using test::Prompt;

constexpr std::int64_t kAnswer = 4;

std::unique_ptr<kernels::Backend> Emulated(ComputeClass compute) {
  return *kernels::cuda::CreateBackendOn(
      kernels::cuda::emulated::CreateDevice({.processors = 2, .apart = true}), {.compute = compute});
}
On Gpu(ComputeClass compute) {
  return {.open = [=]() -> absl::StatusOr<engine::OpenedDevices> {
    engine::OpenedDevices out;
    out.ranks.push_back(Emulated(compute));
    return out;
  }};
}
/// Two ranks with blocks of 32 tokens: all that lies otherwise than on a GPU.
On Cpu(ComputeClass compute) {
  return {.open = [=]() -> absl::StatusOr<engine::OpenedDevices> {
            engine::OpenedDevices out;
            BATON_ASSIGN_OR_RETURN(out.ranks, kernels::CreateCpuRanks({.compute = compute, .threads = 2}, 2));
            return out;
          },
          .ranks = 2,
          .block_tokens = 32};
}

const std::vector<std::vector<TokenId>>& Prompts() {
  static const std::vector<std::vector<TokenId>> prompts = {Prompt(5, 3), Prompt(37, 7)};
  return prompts;
}

TEST_CASE("two workers on GPUs of one class answer with the tokens of one engine") {
  const auto compute = GENERATE(ComputeClass::kF32, ComputeClass::kBF16);
  CAPTURE(std::string(kernels::Name(compute)));
  Pair pair(Gpu(compute), Gpu(compute));
  CHECK(pair.decode_registration.numerics_class() == pair.prefill_registration.numerics_class());
  CHECK(pair.decode_registration.numerics_class().starts_with("cuda/emulated/"));
  test::SequenceRunner whole(test::DemoModel(), Emulated(compute));

  AnswersAsOne(pair, whole, Prompts(), kAnswer);
}

TEST_CASE("a GPU prefills for a CPU and a CPU for a GPU, the KV converted where types and places differ") {
  struct Mixed {
    On prefill, decode;
    double rms;  // against one f32 engine on the CPU
  };
  const auto mixed = GENERATE(values<Mixed>({
      {Gpu(ComputeClass::kF32), Cpu(ComputeClass::kF32), 1e-4},
      {Cpu(ComputeClass::kF32), Gpu(ComputeClass::kF32), 1e-4},
      {Gpu(ComputeClass::kBF16), Cpu(ComputeClass::kF32), 0.1},
      {Cpu(ComputeClass::kF32), Gpu(ComputeClass::kBF16), 0.1},
      {Gpu(ComputeClass::kBF16), Cpu(ComputeClass::kBF16), 0.1},
  }));
  Pair pair(mixed.decode, mixed.prefill);
  CAPTURE(pair.prefill_registration.numerics_class(), pair.decode_registration.numerics_class());
  CHECK(pair.decode_registration.numerics_class() != pair.prefill_registration.numerics_class());
  test::SequenceRunner whole(test::DemoModel(), {.compute = ComputeClass::kF32, .threads = 1});

  const double rms = AskAll(pair, whole, Prompts(), kAnswer);

  CAPTURE(rms);
  CHECK(rms < mixed.rms);
  CHECK(pair.Released(2, 2).transfer().bytes() > 0);
}

TEST_CASE("workers on a real GPU answer as one engine does there, or this says aloud that there is none") {
  if (const auto found = kernels::FindCudaDevice(0); !found.ok()) {
    WARN("SKIPPED: a pair of workers on a GPU: " << Message(found.status()));
    return;
  }
  const auto real = [] { return kernels::CreateCudaBackend({.compute = ComputeClass::kBF16}); };
  const On gpu{.open = [=]() -> absl::StatusOr<engine::OpenedDevices> {
    engine::OpenedDevices out;
    BATON_ASSIGN_OR_RETURN(out.ranks.emplace_back(), real());
    return out;
  }};
  Pair pair(gpu, gpu);
  test::SequenceRunner whole(test::DemoModel(), real());

  AnswersAsOne(pair, whole, Prompts(), kAnswer);
  Pair mixed(Cpu(ComputeClass::kBF16), gpu);
  test::SequenceRunner plain(test::DemoModel(), {.compute = ComputeClass::kF32, .threads = 1});
  CHECK(AskAll(mixed, plain, Prompts(), kAnswer) < 0.1);
}

}  // namespace
}  // namespace baton::decode
