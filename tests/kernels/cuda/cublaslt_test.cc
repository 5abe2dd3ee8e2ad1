// Matmuls of a library, over a stand-in for it: layouts, and algorithms that are asked for once a shape.
#include <dlfcn.h>

#include <algorithm>
#include <cmath>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kernels/cuda/fast_matmul.h"
#include "kernels/cuda/fp8.h"
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

std::unique_ptr<Backend> FastBackend(ComputeClass compute = ComputeClass::kBF16) {
  auto device = emulated::CreateDevice(2);
  auto fast = *OpenCublasLt(*device, FAKE_CUBLASLT);
  return *CreateBackendOn(std::move(device), {.compute = compute, .invariant = false}, std::move(fast));
}

/// A row as fp8 leaves it: each element over the row's scale to the nearest number, and back.
void RoundRow(double* row, std::int64_t count) {
  float greatest = 0;
  for (std::int64_t i = 0; i < count; ++i)
    greatest = std::max(greatest, std::abs(static_cast<float>(row[i])));
  const Fp8Scale scale = ScaleOfRow(greatest);
  for (std::int64_t i = 0; i < count; ++i) {
    const float rounded = FromFp8(ToFp8(static_cast<float>(row[i]) * scale.inverse));
    row[i] = static_cast<double>(rounded) * static_cast<double>(scale.scale);
  }
}
reference::Matrix Rounded(reference::Matrix matrix) {
  for (std::int64_t row = 0; row < matrix.rows; ++row) RoundRow(&matrix.At(row, 0), matrix.columns);
  return matrix;
}

/// Products in class fp8 against the plain reference over what the rounding leaves.
void CheckFp8Products(Backend& backend) {
  RandomStream random(63);
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    for (const std::int64_t k : {5, 64, 333}) {
      const StoredWeight weight(48, k, dtype, random);
      const auto packed = *backend.Pack(weight.View());
      for (const std::int64_t rows : {1, 7, 70}) {
        INFO(k << " columns, " << rows << " rows");
        Tensor in = Tensor::Random(rows, k, random, 20);
        Tensor out(rows, 48);

        backend.MatMul(*packed, in.View(), out.View());

        const reference::Matrix wanted =
            reference::MatMul(Rounded(weight.ToMatrix()), Rounded(in.ToMatrix()));
        double worst = 0;
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < 48; ++c)
            worst = std::max(worst, std::abs(out.At(r, c) - wanted.At(r, c)));
        }
        CHECK(worst < 2e-3);  // f32 sums of products up to 60
        CHECK(out.GapIntact());
      }
    }
  }
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

TEST_CASE("a product in fp8 is that of the rounded rows, each by its own scale") {
  FakeCublasLt& state = State();
  const auto backend = FastBackend(ComputeClass::kFp8);
  CHECK(backend->Name() == "cuda/emulated/fp8/fast");
  CHECK(backend->KvType() == DType::kBF16);
  const int before = state.products_fp8;

  CheckFp8Products(*backend);

  CHECK(state.products_fp8 == before + 18);
}

TEST_CASE("what fp8 must not round, and outputs that are no multiple of 16, are multiplied in bf16") {
  FakeCublasLt& state = State();
  const auto backend = FastBackend(ComputeClass::kFp8);
  RandomStream random(64);
  const StoredWeight odd(37, 64, DType::kBF16, random);
  const StoredWeight even(48, 64, DType::kBF16, random);
  Tensor in = Tensor::Random(3, 64, random);
  const int before = state.products_fp8;

  for (const auto& [weight, options] :
       {std::pair{&odd, PackOptions{}}, std::pair{&even, PackOptions{.may_quantize = false}}}) {
    Tensor out(3, weight->rows);
    backend->MatMul(**backend->Pack(weight->View(), options), in.View(), out.View());
    const reference::Matrix wanted = reference::MatMul(weight->ToMatrix(true), in.ToMatrix(true));
    for (std::int64_t c = 0; c < weight->rows; ++c)
      CHECK(out.At(2, c) == Approx(wanted.At(2, c)).margin(1e-4));
  }

  CHECK(state.products_fp8 == before);
}

TEST_CASE("a row of zeros, one of next to nothing and one with a NaN leave their neighbours alone in fp8") {
  const auto backend = FastBackend(ComputeClass::kFp8);
  RandomStream random(65);
  const StoredWeight weight(16, 64, DType::kBF16, random);
  const auto packed = *backend->Pack(weight.View());
  Tensor in = Tensor::Random(4, 64, random);
  Tensor alone(1, 16);
  backend->MatMul(*packed, in.View(3, 1), alone.View());
  for (std::int64_t c = 0; c < 64; ++c) {
    in.View(0, 1).data[c] = 0;
    in.View(1, 1).data[c] = 1e-39F;
  }
  in.View(2, 1).data[17] = std::nanf("");
  Tensor out(4, 16);

  backend->MatMul(*packed, in.View(), out.View());

  for (std::int64_t c = 0; c < 16; ++c) {
    CHECK(out.At(0, c) == 0);
    CHECK(out.At(1, c) == 0);
    CHECK(std::isnan(out.At(2, c)));
  }
  CHECK(SameBits(out.Row(3), alone.Row(0)));
}

TEST_CASE("fp8 is refused by name where the device has none, and where a fixed order is asked for") {
  auto old = emulated::CreateDevice(emulated::DeviceOptions{.fp8 = false});
  auto fast = *OpenCublasLt(*old, FAKE_CUBLASLT);
  const auto on_old =
      CreateBackendOn(std::move(old), {.compute = ComputeClass::kFp8, .invariant = false}, std::move(fast));
  CHECK(on_old.status().code() == kFailedPrecondition);
  CHECK(Message(on_old.status()).find("cannot multiply in fp8") != std::string::npos);

  const auto ordered = CreateBackendOn(emulated::CreateDevice(1), {.compute = ComputeClass::kFp8});
  CHECK(ordered.status().code() == kInvalidArgument);
  CHECK(Message(ordered.status()).find("compute.invariant: false") != std::string::npos);
  const auto on_cpu = CreateCpuBackend({.compute = ComputeClass::kFp8, .threads = 1});
  CHECK(Message(on_cpu.status()).find("compute.class fp8 is a GPU's alone") != std::string::npos);
}

TEST_CASE("fp8 on a GPU multiplies what the host would have rounded, or the test says that there is none") {
  auto backend = CreateCudaBackend({.compute = ComputeClass::kFp8, .invariant = false});
  if (!backend.ok()) {
    WARN("SKIPPED: fp8 on a GPU: " << Message(backend.status()));
    return;
  }
  const auto on_host = OnHostMemory(*std::move(backend));

  CheckFp8Products(*on_host);
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
  const absl::Status status = fast->Run(nullptr,
                                        {.weight = some.data(),
                                         .in = some.data(),
                                         .weight_stride = 32,
                                         .in_stride = 32,
                                         .out = out.data(),
                                         .out_stride = 1,
                                         .rows = 1,
                                         .outputs = 1},
                                        Element::kBF16);

  state.finds = true;
  CHECK(Message(status).find("finds no algorithm") != std::string::npos);
}

}  // namespace
}  // namespace baton::kernels::cuda
