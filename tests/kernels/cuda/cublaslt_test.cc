// Matmuls of a library, over a stand-in for it: layouts, and algorithms that are asked for once a shape.
#include <dlfcn.h>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kernels/cuda/fast_matmul.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/fake_libraries.h"
#include "tests/kernels/cuda/on_host_memory.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels::cuda {
namespace {

FakeCublasLt& State() {
  void* handle = dlopen(FAKE_CUBLASLT, RTLD_NOW);
  REQUIRE(handle != nullptr);
  return *reinterpret_cast<FakeCublasLt* (*)()>(dlsym(handle, "fake_cublaslt_state"))();
}

std::unique_ptr<Backend> FastBackend() {
  auto device = emulated::CreateDevice(2);
  auto fast = *OpenCublasLt(*device, FAKE_CUBLASLT);
  return *CreateBackendOn(std::move(device), {.invariant = false}, std::move(fast));
}

/// Products of several shapes against the plain reference.
void CheckProducts(Backend& backend) {
  RandomStream random(61);
  for (const std::int64_t k : {5, 64, 333}) {
    const StoredWeight weight(37, k, DType::kBF16, random);
    const auto packed = *backend.Pack(weight.View());
    for (const std::int64_t rows : {1, 7, 70}) {
      INFO(k << " columns, " << rows << " rows");
      Tensor in = Tensor::Random(rows, k, random);
      Tensor out(rows, 37);

      backend.MatMul(*packed, in.View(), out.View());

      const reference::Matrix wanted = reference::MatMul(weight.ToMatrix(true), in.ToMatrix(true));
      bool close = true;
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < 37; ++c)
          close = close && std::abs(out.At(r, c) - wanted.At(r, c)) < 1e-3;
      }
      CHECK(close);
      CHECK(out.GapIntact());
    }
  }
}

TEST_CASE("a library's product is that of the plain reference, of whole matrices and of shares") {
  FakeCublasLt& state = State();
  const auto backend = FastBackend();
  CHECK(backend->Name() == "cuda/emulated/bf16/fast");
  const int before = state.products;

  CheckProducts(*backend);

  CHECK(state.products == before + 9);
}

TEST_CASE(
    "cuBLASLt's products on a GPU are those of the plain reference, or the test says that there is none") {
  auto backend = CreateCudaBackend({.invariant = false});
  if (!backend.ok()) {
    WARN("SKIPPED: cuBLASLt on a GPU: " << Message(backend.status()));
    return;
  }
  const auto on_host = OnHostMemory(*std::move(backend));

  CheckProducts(*on_host);
}

TEST_CASE("an algorithm is asked for once a shape, and nothing is left behind") {
  FakeCublasLt& state = State();
  const int alive = state.alive;
  {
    const auto backend = FastBackend();
    RandomStream random(62);
    const StoredWeight weight(16, 64, DType::kBF16, random);
    const auto packed = *backend->Pack(weight.View());
    Tensor in = Tensor::Random(4, 64, random);
    Tensor out(4, 16, 0);
    const int before = state.asked;
    for (int i = 0; i < 5; ++i) backend->MatMul(*packed, in.View(), out.View());
    CHECK(state.asked == before + 1);
    backend->MatMul(*packed, in.View(0, 3), out.View(0, 3));
    CHECK(state.asked == before + 2);
  }
  CHECK(state.alive == alive);
}

TEST_CASE("a class that the library is not for, or a library that is not there, is refused") {
  auto device = emulated::CreateDevice(1);
  CHECK(Message(OpenCublasLt(*device, "libno-such-blas.so").status()).find("cannot load") !=
        std::string::npos);
  auto fast = *OpenCublasLt(*device, FAKE_CUBLASLT);
  const auto f32 = CreateBackendOn(std::move(device), {.compute = ComputeClass::kF32, .invariant = false},
                                   std::move(fast));
  CHECK(Message(f32.status()).find("compute.invariant") != std::string::npos);
}

TEST_CASE("a shape without an algorithm is an error, not a wrong product") {
  FakeCublasLt& state = State();
  auto device = emulated::CreateDevice(1);
  const auto fast = *OpenCublasLt(*device, FAKE_CUBLASLT);
  state.finds = false;

  std::vector<std::uint16_t> some(64);
  std::vector<float> out(1);
  const absl::Status status = fast->Run(nullptr, {.weight = some.data(),
                                                  .in = some.data(),
                                                  .weight_stride = 32,
                                                  .in_stride = 32,
                                                  .out = out.data(),
                                                  .out_stride = 1,
                                                  .rows = 1,
                                                  .outputs = 1});

  state.finds = true;
  CHECK(Message(status).find("finds no algorithm") != std::string::npos);
}

}  // namespace
}  // namespace baton::kernels::cuda
