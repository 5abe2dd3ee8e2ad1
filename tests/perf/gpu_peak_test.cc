#include "perf/gpu_peak.h"

#include <dlfcn.h>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/cuda/fake_libraries.h"

namespace baton::perf {
namespace {

using kernels::cuda::Element;

FakeCublasLt& State() {
  void* handle = dlopen(FAKE_CUBLASLT, RTLD_NOW);
  REQUIRE(handle != nullptr);
  return *reinterpret_cast<FakeCublasLt* (*)()>(dlsym(handle, "fake_cublaslt_state"))();
}

TEST_CASE(
    "a GPU's peaks are those of a copy and of the library's product, repeated after one that warms up") {
  FakeCublasLt& state = State();
  const auto device = kernels::cuda::emulated::CreateDevice(1);
  const auto library = *kernels::cuda::OpenCublasLt(*device, FAKE_CUBLASLT);
  for (const Element element : {Element::kBF16, Element::kFp8}) {
    const int before = state.products;
    const int before_fp8 = state.products_fp8;

    const auto peak = MeasureGpuPeak(
        *device, *library, {.element = element, .side = 64, .bytes = std::size_t{1} << 20, .repeats = 3});

    REQUIRE(peak.ok());
    CHECK(peak->gflops > 0);
    CHECK(peak->gbytes > 0);
    CHECK(state.products == before + 4);
    CHECK(state.products_fp8 == before_fp8 + (element == Element::kFp8 ? 4 : 0));
  }
}

TEST_CASE("a GPU without an algorithm for the product has no peak, and says why") {
  FakeCublasLt& state = State();
  const auto device = kernels::cuda::emulated::CreateDevice(1);
  const auto library = *kernels::cuda::OpenCublasLt(*device, FAKE_CUBLASLT);

  state.finds = false;
  const auto peak =
      MeasureGpuPeak(*device, *library, {.side = 64, .bytes = std::size_t{1} << 20, .repeats = 1});
  state.finds = true;

  CHECK(Message(peak.status()).find("finds no algorithm") != std::string::npos);
}

}  // namespace
}  // namespace baton::perf
