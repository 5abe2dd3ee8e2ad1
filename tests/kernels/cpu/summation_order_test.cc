// The rule that makes 1, 2, 4 and 8 tensor-parallel ranks agree, written out as a loop.
#include <array>

#include <catch2/catch.hpp>

#include "kernels/backend.h"
#include "kernels/cpu/packed_matrix.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels {
namespace {

/// Segment i is [2 floor(h i / 8), 2 floor(h (i + 1) / 8)) with h = ceil(k / 2), each summed in order.
float InSegments(const std::vector<float>& x, const reference::Matrix& weight, std::int64_t output) {
  const std::int64_t half = (weight.columns + 1) / 2;
  std::array<float, 8> s{};
  for (std::int64_t i = 0; i < 8; ++i) {
    for (std::int64_t k = half * i / 8 * 2; k < half * (i + 1) / 8 * 2 && k < weight.columns; ++k) {
      const float product = x[static_cast<std::size_t>(k)] * static_cast<float>(weight.At(output, k));
      s[static_cast<std::size_t>(i)] = s[static_cast<std::size_t>(i)] + product;
    }
  }
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

TEST_CASE("the portable f32 matmul sums in 8 segments joined by the fixed tree, to the bit") {
  const auto backend =
      *CreateCpuBackend({.compute = ComputeClass::kF32, .threads = 1, .instruction_set = "portable"});
  RandomStream random(41);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const std::int64_t inputs : {1, 2, 9, 16, 31, 128, 333}) {
      for (const std::int64_t rows : {1, 4, 17}) {
        INFO(inputs << " inputs, " << rows << " rows, " << std::string(Name(dtype)));
        const StoredWeight weight(37, inputs, dtype, random);
        Tensor in = Tensor::Random(rows, inputs, random);
        Tensor out(rows, 37);
        const auto packed = backend->Pack(weight.View());

        backend->MatMul(**packed, in.View(), out.View());

        const reference::Matrix w = weight.ToMatrix();
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t n = 0; n < 37; ++n) REQUIRE(out.At(r, n) == InSegments(in.Row(r), w, n));
        }
      }
    }
  }
}

TEST_CASE("segments are even, in order, cover K, and are those of a rank's share where K divides by 16") {
  for (std::int64_t k = 1; k < 300; ++k) {
    const auto bounds = SegmentBounds(k);
    CHECK(bounds.front() == 0);
    CHECK(bounds.back() == k + k % 2);
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(bounds[i] % 2 == 0);
      CHECK(bounds[i] <= bounds[i + 1]);
      if (k % 16 == 0) CHECK(bounds[i + 1] - bounds[i] == k / 8);
    }
  }
}

}  // namespace
}  // namespace baton::kernels
