// NCCL's communicator over a stand-in for the library: what the conformance suite does not single out.
#include <catch2/catch.hpp>

#include <thread>

#include "common/base/error.h"
#include "kernels/cuda/fast_matmul.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/rank_cases.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels {
namespace {

TEST_CASE("a group that need not keep the order lets the library add up, and says so") {
  for (const std::int64_t gap : {0, 3}) {
    const Ranks group = NcclCases(false).at(0).make(4);
    std::vector<Tensor> parts;
    RandomStream random(5);
    for (int rank = 0; rank < 4; ++rank) parts.push_back(Tensor(3, 300, gap));
    for (Tensor& part : parts) {
      for (std::int64_t row = 0; row < 3; ++row) {
        for (std::int64_t c = 0; c < 300; ++c)
          part.View(row, 1).data[c] = static_cast<float>(random.Between(-9, 9));
      }
    }
    const std::vector<Tensor> before = parts;
    {
      std::vector<std::jthread> threads;
      for (std::size_t rank = 0; rank < 4; ++rank)
        threads.emplace_back([&, rank] { group.communicators[rank]->SumInOrder(parts[rank].View()); });
    }

    bool right = true;
    for (const Tensor& part : parts) {
      for (std::int64_t row = 0; row < 3; ++row) {
        for (std::int64_t c = 0; c < 300; ++c) {
          float sum = 0;
          for (const Tensor& one : before) sum += one.At(row, c);
          right = right && part.At(row, c) == sum;
        }
      }
      CHECK(part.GapIntact());
    }
    CHECK(right);
    CHECK_FALSE(group.communicators[0]->KeepsOrder());
    CHECK(group.communicators[0]->IsForGpus());
  }
}

TEST_CASE("a group of GPUs wants GPUs, and a library that is there and agrees") {
  const auto cpu = *CreateCpuBackend({.threads = 1});
  const auto emulated = *cuda::CreateBackendOn(cuda::emulated::CreateDevice(1), {});
  const std::vector<Backend*> mixed = {emulated.get(), cpu.get()};
  const std::vector<Backend*> one = {emulated.get()};

  CHECK(CreateGpuCommunicators(mixed, {.library = FAKE_NCCL}).status().code() == kInvalidArgument);
  const auto missing = CreateGpuCommunicators(one, {.library = "libno-such-nccl.so"});
  CHECK(Message(missing.status()).find("cannot load libno-such-nccl.so") != std::string::npos);
  const auto other = CreateGpuCommunicators(one, {.library = FAKE_CUBLASLT});
  CHECK(Message(other.status()).find("has no nccl") != std::string::npos);
}

}  // namespace
}  // namespace baton::kernels
