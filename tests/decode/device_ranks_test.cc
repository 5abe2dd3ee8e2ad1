#include <catch2/catch.hpp>

#include "kernels/cuda/fast_matmul.h"
#include "tests/decode/worker_pair.h"
#include "tests/kernels/cuda/emulated_device.h"

/// Workers whose ranks have GPUs of their own: each emulated, joined by a stand-in for NCCL.
namespace baton::decode {
namespace {

using kernels::ComputeClass;
using test::On;
using test::Pair;
using test::Prompt;

std::unique_ptr<kernels::Backend> Emulated() {
  return *kernels::cuda::CreateBackendOn(kernels::cuda::emulated::CreateDevice(2), {});
}
On Gpus(int ranks, bool keeps_order = true) {
  return {.open = [=]() -> absl::StatusOr<engine::OpenedDevices> {
            engine::OpenedDevices out{.ranks = {},
                                      .group = {.keeps_order = keeps_order, .library = FAKE_NCCL}};
            for (int rank = 0; rank < ranks; ++rank) out.ranks.push_back(Emulated());
            return out;
          },
          .ranks = ranks};
}

TEST_CASE("workers with several GPUs answer with the tokens of one engine, each KV part on its own GPU") {
  const auto [prefill, decode] = GENERATE(table<int, int>({{2, 1}, {1, 2}, {4, 2}}));
  CAPTURE(prefill, decode);
  Pair pair(Gpus(decode), Gpus(prefill));
  CHECK(pair.decode_registration.numerics_class() == pair.prefill_registration.numerics_class());
  CHECK(pair.prefill_registration.kv().ranks() == prefill);
  test::SequenceRunner whole(test::DemoModel(), Emulated());

  AnswersAsOne(pair, whole, {Prompt(5, 3), Prompt(37, 7)}, 4);
}

TEST_CASE("ranks whose sums are in no fixed order are a class of their own, and answer") {
  Pair pair(Gpus(2, false), Gpus(2, false));
  CHECK(pair.decode_registration.numerics_class() == pair.prefill_registration.numerics_class());
  CHECK(pair.decode_registration.numerics_class().ends_with("/ranks2"));
  test::SequenceRunner whole(test::DemoModel(), Emulated());

  CHECK(AskAll(pair, whole, {Prompt(20, 3)}, 4) < 0.05);
}

TEST_CASE("ranks on GPUs that cannot be joined are refused with what is missing") {
  std::vector<std::unique_ptr<kernels::Backend>> ranks;
  ranks.push_back(Emulated());
  ranks.push_back(Emulated());

  const auto model = engine::LoadRankedModel(test::DemoModel(), ranks, 16, {.library = "libno-such-nccl.so"});

  CHECK(Message(model.status()).find("cannot load libno-such-nccl.so") != std::string::npos);
}

}  // namespace
}  // namespace baton::decode
