// The int8 class, written out as loops: what is rounded, in which order the parts are joined, and what it
// loses.
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include "kernels/backend.h"
#include "kernels/cpu/packed_matrix.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels {
namespace {

struct Quantized {
  float scale = 0;
  std::vector<std::int64_t> values;
};

/// Symmetric, to the nearest of -127 to 127.
Quantized Quantize(const std::vector<float>& x, std::int64_t begin, std::int64_t end) {
  Quantized result;
  float highest = 0;
  for (std::int64_t k = begin; k < end; ++k)
    highest = std::max(highest, std::abs(x[static_cast<std::size_t>(k)]));
  if (highest > 0) result.scale = highest / 127.0F;
  for (std::int64_t k = begin; k < end; ++k) {
    const float inverse = highest > 0 ? 127.0F / highest : 0;
    result.values.push_back(std::lrint(x[static_cast<std::size_t>(k)] * inverse));
  }
  return result;
}

float Int8Product(const std::vector<float>& x, const std::vector<float>& weight) {
  const auto columns = std::ssize(x);
  const std::int64_t half = (columns + 1) / 2;
  std::array<float, 8> s{};
  for (std::int64_t i = 0; i < 8; ++i) {
    const std::int64_t begin = half * i / 8 * 2;
    const std::int64_t end = std::min<std::int64_t>(half * (i + 1) / 8 * 2, columns);
    const Quantized a = Quantize(x, begin, end);
    const Quantized w = Quantize(weight, begin, end);
    std::int64_t sum = 0;
    for (std::size_t k = 0; k < a.values.size(); ++k) sum += a.values[k] * w.values[k];
    s[static_cast<std::size_t>(i)] = static_cast<float>(sum) * w.scale * a.scale;
  }
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

std::vector<float> RowOf(const reference::Matrix& matrix, std::int64_t row) {
  std::vector<float> values;
  for (std::int64_t k = 0; k < matrix.columns; ++k) values.push_back(static_cast<float>(matrix.At(row, k)));
  return values;
}

TEST_CASE("an int8 matmul is exact sums of rounded integers, to the same bit on every instruction set") {
  for (const std::string& set : CpuInstructionSets()) {
    const auto backend =
        *CreateCpuBackend({.compute = ComputeClass::kInt8, .threads = 2, .instruction_set = set});
    RandomStream random(43);
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const std::int64_t inputs : {1, 2, 9, 16, 31, 50, 128, 333, 1025}) {
        for (const std::int64_t rows : {1, 4, 13, 29}) {
          INFO(set << ", " << inputs << " inputs, " << rows << " rows, " << std::string(Name(dtype)));
          const StoredWeight weight(37, inputs, dtype, random);
          Tensor in = Tensor::Random(rows, inputs, random, 3);
          Tensor out(rows, 37);
          const auto packed = backend->Pack(weight.View());

          backend->MatMul(**packed, in.View(), out.View());

          const reference::Matrix w = weight.ToMatrix();
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t n = 0; n < 37; ++n)
              REQUIRE(out.At(r, n) == Int8Product(in.Row(r), RowOf(w, n)));
          }
          CHECK(out.GapIntact());
        }
      }
    }
  }
}

TEST_CASE("extreme int8 values do not overflow 16 bits on the way") {
  for (const std::string& set : CpuInstructionSets()) {
    INFO(set);
    const auto backend =
        *CreateCpuBackend({.compute = ComputeClass::kInt8, .threads = 1, .instruction_set = set});
    for (const float sign : {1.0F, -1.0F}) {
      const std::vector<float> weight(256, sign);
      Tensor in(1, 256);
      for (std::int64_t k = 0; k < 256; ++k) in.View().data[k] = 1;
      Tensor out(1, 1);
      const auto packed =
          backend->Pack({reinterpret_cast<const std::byte*>(weight.data()), DType::kF32, 1, 256});

      backend->MatMul(**packed, in.View(), out.View());

      CHECK(out.At(0, 0) == Approx(256 * sign).epsilon(1e-6));
    }
  }
}

TEST_CASE("zeros stay zeros, and what is not finite does not become a number") {
  for (const std::string& set : CpuInstructionSets()) {
    INFO(set);
    const auto backend =
        *CreateCpuBackend({.compute = ComputeClass::kInt8, .threads = 1, .instruction_set = set});
    RandomStream random(3);
    const StoredWeight weight(5, 40, DType::kBF16, random);
    Tensor in(3, 40);
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t k = 0; k < 40; ++k) in.View().data[i * in.View().stride + k] = 0;
    }
    in.View().data[in.View().stride + 3] = std::bit_cast<float>(0x7fffffffU);
    in.View().data[2 * in.View().stride + 3] = std::numeric_limits<float>::infinity();
    Tensor out(3, 5);
    const auto packed = backend->Pack(weight.View());

    backend->MatMul(**packed, in.View(), out.View());

    for (int c = 0; c < 5; ++c) {
      CHECK(out.At(0, c) == 0);
      CHECK(!std::isfinite(out.At(1, c)));
      CHECK(!std::isfinite(out.At(2, c)));
    }
  }
}

TEST_CASE("shares of an int8 matmul's segments add up to the whole's bits") {
  const auto backend = *CreateCpuBackend({.compute = ComputeClass::kInt8, .threads = 1});
  RandomStream random(8);
  const StoredWeight weight(40, 352, DType::kBF16, random);
  Tensor in = Tensor::Random(5, 352, random);
  Tensor whole(5, 40);
  backend->MatMul(**backend->Pack(weight.View()), in.View(), whole.View());
  const auto bounds = SegmentBounds(352);

  Tensor halves[] = {Tensor(5, 40), Tensor(5, 40)};
  for (int rank = 0; rank < 2; ++rank) {
    const auto first = static_cast<std::size_t>(4 * rank);
    Rows share = in.View();
    share.data += bounds[first];
    share.columns = bounds[first + 4] - bounds[first];
    backend->MatMul(**backend->Pack(weight.View(), {4 * rank, 4}), share, halves[rank].View());
  }

  for (std::int64_t r = 0; r < 5; ++r) {
    for (std::int64_t n = 0; n < 40; ++n) CHECK(halves[0].At(r, n) + halves[1].At(r, n) == whole.At(r, n));
  }
}

TEST_CASE("an int8 matrix takes little more than a byte an element") {
  const auto backend = *CreateCpuBackend({.compute = ComputeClass::kInt8, .threads = 1});
  const std::vector<float> weight(std::size_t{4096} * 2048, 0.5F);

  const auto packed =
      backend->Pack({reinterpret_cast<const std::byte*>(weight.data()), DType::kF32, 4096, 2048});

  CHECK((*packed)->Bytes() < std::size_t{4096} * 2048 * 102 / 100);
}

TEST_CASE("a weight that may not be quantized is multiplied in class int8 as in class bf16, to the bit") {
  for (const std::string& set : CpuInstructionSets()) {
    INFO(set);
    RandomStream random(57);
    const StoredWeight weight(8, 96, DType::kF32, random);
    Tensor in = Tensor::Random(3, 96, random);
    std::vector<Tensor> out(3, Tensor(3, 8));
    const auto multiply = [&](ComputeClass compute, bool may_quantize, Tensor& result) {
      const auto backend = *CreateCpuBackend({.compute = compute, .threads = 1, .instruction_set = set});
      const auto packed = *backend->Pack(weight.View(), {.may_quantize = may_quantize});
      backend->MatMul(*packed, in.View(), result.View());
    };

    multiply(ComputeClass::kBF16, true, out[0]);
    multiply(ComputeClass::kInt8, false, out[1]);
    multiply(ComputeClass::kInt8, true, out[2]);

    for (std::int64_t r = 0; r < 3; ++r) {
      CHECK(SameBits(out[0].Row(r), out[1].Row(r)));
      CHECK_FALSE(SameBits(out[0].Row(r), out[2].Row(r)));
    }
  }
}

}  // namespace
}  // namespace baton::kernels
