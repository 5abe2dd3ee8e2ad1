// NCCL's communicator over a stand-in for the library: what the conformance suite does not single out.
#include <catch2/catch.hpp>

#include <bit>
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

TEST_CASE("ranks on unlike GPUs, or of unlike classes, are refused with what each computes") {
  const auto made = [](const std::string& architecture, ComputeClass compute) {
    return *cuda::CreateBackendOn(
        cuda::emulated::CreateDevice({.processors = 1, .architecture = architecture}), {.compute = compute});
  };
  const auto first = made("sm90", ComputeClass::kBF16);
  const auto like = made("sm90", ComputeClass::kBF16);
  const auto older = made("sm80", ComputeClass::kBF16);
  const auto wide = made("sm90", ComputeClass::kF32);

  const std::vector<Backend*> good = {first.get(), like.get()};
  CHECK(CreateGpuCommunicators(good, {.library = FAKE_NCCL}).ok());
  for (Backend* other : {older.get(), wide.get()}) {
    const std::vector<Backend*> unlike = {first.get(), other};
    const absl::Status refused = CreateGpuCommunicators(unlike, {.library = FAKE_NCCL}).status();
    CHECK(refused.code() == kFailedPrecondition);
    CHECK(Message(refused).find("computes cuda/sm90/bf16") != std::string::npos);
    CHECK(Message(refused).find("computes " + other->Name()) != std::string::npos);
  }
}

TEST_CASE("NCCL adds up and gathers over this machine's GPUs, or the test says that there are none") {
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<Backend*> ranks;
  absl::Status why;
  for (int device = 0; device < 8; ++device) {
    auto backend = CreateCudaBackend({.device = device});
    why = backend.status();
    if (!backend.ok()) break;
    backends.push_back(*std::move(backend));
    ranks.push_back(backends.back().get());
  }
  if (ranks.empty()) {
    WARN("SKIPPED: NCCL on GPUs: " << Message(why));
    return;
  }
  ranks.resize(std::bit_floor(ranks.size()));
  const auto group = CreateGpuCommunicators(ranks);
  INFO(group.status());
  REQUIRE(group.ok());
  const std::vector<float> mine = {1, 2, 3, 4, 5, 6};
  std::vector<std::vector<float>> sums(ranks.size(), mine);
  std::vector<std::vector<float>> gathered(ranks.size(), std::vector<float>(6 * ranks.size()));
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      threads.emplace_back([&, rank] {
        Backend& backend = *ranks[rank];
        backend.EnterThread();
        const Buffer part = *backend.Upload(std::as_bytes(std::span(mine)));
        const Buffer all = *backend.Upload(std::as_bytes(std::span(gathered[rank])));
        const auto columns = static_cast<std::int64_t>(3 * ranks.size());
        const Rows rows{.data = part.As<float>(), .rows = 2, .columns = 3, .stride = 3};
        (*group)[rank]->AllGather(
            rows, {.data = all.As<float>(), .rows = 2, .columns = columns, .stride = columns});
        (*group)[rank]->SumInOrder(rows);
        backend.Copy(reinterpret_cast<std::byte*>(sums[rank].data()), part.Region().address, 24);
        backend.Copy(reinterpret_cast<std::byte*>(gathered[rank].data()), all.Region().address, all.Bytes());
      });
    }
  }
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    for (std::size_t i = 0; i < 6; ++i) CHECK(sums[rank][i] == mine[i] * static_cast<float>(ranks.size()));
    for (std::size_t i = 0; i < gathered[rank].size(); ++i)
      CHECK(gathered[rank][i] == mine[i / (3 * ranks.size()) * 3 + i % 3]);
  }
}

}  // namespace
}  // namespace baton::kernels
