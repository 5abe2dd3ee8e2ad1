// Every operation of every backend against plain loops in double.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <catch2/catch.hpp>

#include "tests/kernels/backends.h"
#include "tests/kernels/tensors.h"
#include "tests/support/reference.h"

namespace baton::kernels {
namespace {

using reference::Matrix;

bool IsBf16(const Backend& backend) {
  return backend.Compute() == ComputeClass::kBF16;
}

/// Largest |got - wanted| / scale; infinite where `got` is no number.
double WorstError(const Tensor& got, const Matrix& wanted, const Matrix* scale = nullptr) {
  double worst = 0;
  for (std::int64_t r = 0; r < wanted.rows; ++r) {
    for (std::int64_t c = 0; c < wanted.columns; ++c) {
      const double error = std::abs(static_cast<double>(got.At(r, c)) - wanted.At(r, c));
      const double relative = error / (scale != nullptr ? scale->At(r, c) + 1e-30 : 1.0);
      if (!(relative <= worst))
        worst = std::isnan(relative) ? std::numeric_limits<double>::infinity() : relative;
    }
  }
  return worst;
}

struct MatMulCase {
  std::int64_t rows, outputs, inputs;
};

TEST_CASE("a matmul is the sum of products, for every shape and stored type") {
  // Products are exact in f32 and bf16 (bf16 x bf16 fits f32), so that only f32 summation rounds: 1e-6 of the
  // sum of magnitudes is 8 ulp. What int8 must give is in cpu/int8_test.cc.
  const MatMulCase cases[] = {{1, 1, 1},    {1, 33, 7},    {2, 31, 16},   {3, 64, 15},
                              {5, 70, 33},  {7, 32, 2},    {11, 40, 50},  {12, 96, 64},
                              {13, 97, 65}, {25, 65, 129}, {97, 34, 288}, {4, 48, 1025}};
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(17);
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const MatMulCase& shape : cases) {
        INFO(one.name << ", " << shape.rows << " x " << shape.outputs << " x " << shape.inputs << " of type "
                      << std::string(Name(dtype)));
        const StoredWeight weight(shape.outputs, shape.inputs, dtype, random);
        Tensor in = Tensor::Random(shape.rows, shape.inputs, random);
        Tensor out(shape.rows, shape.outputs);

        const auto packed = backend->Pack(weight.View());
        REQUIRE(packed.ok());
        backend->MatMul(**packed, in.View(), out.View());
        backend->Synchronize();

        const Matrix w = weight.ToMatrix(IsBf16(*backend));
        const Matrix x = in.ToMatrix(IsBf16(*backend));
        const Matrix magnitude = reference::MatMulMagnitude(w, x);
        const bool int8 = backend->Compute() == ComputeClass::kInt8;
        if (!int8) CHECK(WorstError(out, reference::MatMul(w, x), &magnitude) < 1e-6);
        CHECK(out.GapIntact());
        CHECK((*packed)->Rows() == shape.outputs);
        CHECK((*packed)->Columns() == shape.inputs);
        CHECK((*packed)->Bytes() >= static_cast<std::size_t>(shape.outputs * shape.inputs) * (int8 ? 1 : 2));
      }
    }
  }
}

TEST_CASE("a matmul of a NaN or an infinity does not make it a number") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    RandomStream random(3);
    const StoredWeight weight(5, 40, DType::kBF16, random);
    Tensor in = Tensor::Random(2, 40, random);
    in.View().data[3] = std::bit_cast<float>(0x7fffffffU);
    in.View().data[in.View().stride + 3] = std::numeric_limits<float>::infinity();
    Tensor out(2, 5);

    const auto packed = backend->Pack(weight.View());
    backend->MatMul(**packed, in.View(), out.View());

    for (int c = 0; c < 5; ++c) CHECK(std::isnan(out.At(0, c)));
    const bool int8 = backend->Compute() == ComputeClass::kInt8;  // there the segment is NaN as a whole
    for (int c = 0; c < 5; ++c) CHECK((int8 ? std::isnan(out.At(1, c)) : std::isinf(out.At(1, c))));
  }
}

TEST_CASE("an RMS norm divides by the root of the mean square, in place too") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(5);
    for (const std::int64_t columns : {1, 6, 16, 31, 100, 288, 2049}) {
      INFO(one.name << ", " << columns << " columns");
      Tensor in = Tensor::Random(9, columns, random, 4);
      const std::vector<float> weight = Tensor::Random(1, columns, random, 2).Row(0);
      Tensor out(9, columns);
      const Matrix wanted = reference::RmsNorm(in.ToMatrix(), weight, 1e-5);

      backend->RmsNorm(in.View(), weight, 1e-5F, out.View());
      backend->RmsNorm(in.View(), weight, 1e-5F, in.View());

      CHECK(WorstError(out, wanted) < 1e-5);
      for (std::int64_t r = 0; r < 9; ++r) CHECK(SameBits(in.Row(r), out.Row(r)));
      CHECK(out.GapIntact());
    }
  }
}

TEST_CASE("SwiGLU is silu of the gate times up, to a few units in the last place") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(6);
    for (const std::int64_t width : {1, 15, 16, 100}) {
      for (const double size : {1.0, 30.0, 300.0}) {
        INFO(one.name << ", width " << width << ", size " << size);
        Tensor gate_up = Tensor::Random(7, 2 * width, random, size);
        Tensor out(7, width);
        const Matrix wanted = reference::SwiGlu(gate_up.ToMatrix());

        backend->SwiGlu(gate_up.View(), out.View());

        Matrix scale = wanted;  // relative; absolute 1e-30 where e^-x leaves the range of f32
        for (double& value : scale.values) value = std::abs(value) + 1e-24;
        CHECK(WorstError(out, wanted, &scale) < 1e-6);
        CHECK(out.GapIntact());
      }
    }
  }
}

TEST_CASE("RoPE rotates pairs half a head apart by position times frequency") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(7);
    for (const int dim : {2, 6, 48, 64, 128}) {
      INFO(one.name << ", head dim " << dim);
      Tensor x = Tensor::Random(5, 3 * dim, random);
      const std::vector<std::int32_t> positions = {0, 1, 77, 8191, 3};
      std::vector<double> frequencies;
      for (int i = 0; i < dim / 2; ++i) frequencies.push_back(std::pow(10000.0, -2.0 * i / dim));
      Matrix wanted = x.ToMatrix();
      reference::Rope(wanted, dim, positions, frequencies);

      backend->Rope(x.View(), dim, positions, frequencies);

      CHECK(WorstError(x, wanted) < 3e-7);
      CHECK(x.GapIntact());
    }
  }
}

TEST_CASE("RoPE follows when the frequencies or the positions change") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    RandomStream random(8);
    for (const double base : {10000.0, 500000.0}) {
      for (const std::int32_t position : {5, 4000, 6}) {
        Tensor x = Tensor::Random(1, 8, random);
        const std::vector<double> frequencies = {1.0, std::pow(base, -0.25), std::pow(base, -0.5),
                                                 std::pow(base, -0.75)};
        Matrix wanted = x.ToMatrix();
        reference::Rope(wanted, 8, std::vector{position}, frequencies);

        backend->Rope(x.View(), 8, std::vector{position}, frequencies);

        CHECK(WorstError(x, wanted) < 3e-7);
      }
    }
  }
}

TEST_CASE("an embedding is the table's row, exactly") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(9);
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      INFO(one.name << ", " << std::string(Name(dtype)));
      const StoredWeight table(11, 37, dtype, random);
      const std::vector<TokenId> ids = {10, 0, 3, 3};
      Tensor out(4, 37);

      backend->Embed(table.View(), ids, out.View());

      const Matrix stored = table.ToMatrix();
      Matrix wanted(4, 37);
      for (int t = 0; t < 4; ++t) {
        for (int c = 0; c < 37; ++c) wanted.At(t, c) = stored.At(ids[static_cast<std::size_t>(t)], c);
      }
      CHECK(WorstError(out, wanted) == 0);
      CHECK(out.GapIntact());
    }
  }
}

TEST_CASE("every f16 widens to its own value") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    std::vector<std::uint16_t> all(1U << 16);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
    const WeightView table{reinterpret_cast<const std::byte*>(all.data()), DType::kF16, 1, 1 << 16};
    Tensor out(1, 1 << 16);

    backend->Embed(table, std::vector<TokenId>{0}, out.View());

    bool same = true;
    for (std::uint32_t i = 0; i < all.size(); ++i) {
      if ((i >> 10 & 0x1fU) == 31) continue;  // infinities and NaNs
      same = same && out.At(0, i) == reference::FromF16(static_cast<std::uint16_t>(i));
    }
    CHECK(same);
    CHECK(std::isinf(out.At(0, 0x7c00)));
    CHECK(std::isnan(out.At(0, 0x7e00)));
  }
}

TEST_CASE("adding and gathering rows are exact") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    RandomStream random(10);
    Tensor x = Tensor::Random(6, 35, random);
    Tensor y = Tensor::Random(6, 35, random);
    const Tensor before = x;
    Tensor picked(3, 35);

    backend->Add(x.View(), y.View());
    backend->GatherRows(y.View(), std::vector<std::int64_t>{5, 0, 5}, picked.View());

    for (std::int64_t r = 0; r < 6; ++r) {
      for (std::int64_t c = 0; c < 35; ++c) REQUIRE(x.At(r, c) == before.At(r, c) + y.At(r, c));
    }
    CHECK(SameBits(picked.Row(0), y.Row(5)));
    CHECK(SameBits(picked.Row(1), y.Row(0)));
    CHECK(SameBits(picked.Row(2), y.Row(5)));
    CHECK(x.GapIntact());
    CHECK(picked.GapIntact());
  }
}

TEST_CASE("a bias is added to every row, and rows are added at their places, by their shares, in order") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    RandomStream random(11);
    Tensor x = Tensor::Random(5, 19, random);
    Tensor y = Tensor::Random(3, 19, random);
    const std::vector<float> bias = Tensor::Random(1, 19, random).Row(0);
    Tensor wanted = x;
    for (std::int64_t r = 0; r < 5; ++r) {
      for (std::int64_t c = 0; c < 19; ++c) wanted.View(r, 1).data[c] += bias[static_cast<std::size_t>(c)];
    }
    const std::vector<std::int64_t> places = {4, 1, 4};
    const std::vector<float> shares = {0.25F, 3.0F, -0.5F};
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::int64_t c = 0; c < 19; ++c)
        wanted.View(places[i], 1).data[c] += shares[i] * y.At(static_cast<std::int64_t>(i), c);
    }

    backend->AddBias(x.View(), bias);
    backend->AddScaledRows(x.View(), places, shares, y.View());

    for (std::int64_t r = 0; r < 5; ++r) CHECK(SameBits(x.Row(r), wanted.Row(r)));
    CHECK(x.GapIntact());
  }
}

TEST_CASE("an RMS norm of heads norms each head by itself") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(12);
    for (const int dim : {2, 24, 128}) {
      INFO(one.name << ", head dim " << dim);
      Tensor x = Tensor::Random(4, 3 * dim, random, 4);
      const std::vector<float> weight = Tensor::Random(1, dim, random, 2).Row(0);
      Matrix heads(12, dim);
      heads.values = x.ToMatrix().values;
      Matrix wanted(4, 3 * dim);
      wanted.values = reference::RmsNorm(heads, weight, 1e-6).values;

      backend->RmsNormHeads(x.View(), dim, weight, 1e-6F);

      CHECK(WorstError(x, wanted) < 1e-5);
      CHECK(x.GapIntact());
    }
  }
}

TEST_CASE(
    "the experts of the greatest logits are chosen, ties to the lower id, with the shares of a softmax") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(13);
    for (const bool normalize : {false, true}) {
      for (const int chosen : {1, 3, 8}) {
        INFO(one.name << ", " << chosen << " of 8, normalize " << normalize);
        Tensor logits = Tensor::Random(6, 8, random, 3);
        for (int e = 0; e < 8; ++e) logits.View().data[e] = 1;  // the first row: all alike
        const Matrix wanted = reference::ExpertShares(logits.ToMatrix(), chosen, normalize);
        std::vector<std::int32_t> experts(6 * static_cast<std::size_t>(chosen), -1);
        std::vector<float> shares(experts.size(), -1);

        backend->ChooseExperts(logits.View(), {.chosen = chosen, .normalize = normalize}, experts, shares);

        Matrix got(6, 8);
        for (std::size_t i = 0; i < experts.size(); ++i) {
          const auto row = static_cast<std::int64_t>(i) / chosen;
          REQUIRE((experts[i] >= 0 && experts[i] < 8));
          if (static_cast<std::int64_t>(i) % chosen > 0) CHECK(experts[i] > experts[i - 1]);
          got.At(row, experts[i]) = shares[i];
        }
        for (std::size_t i = 0; i < wanted.values.size(); ++i) {
          CHECK((got.values[i] == 0) == (wanted.values[i] == 0));
          CHECK(std::abs(got.values[i] - wanted.values[i]) < 1e-6);
        }
      }
    }
  }
}

TEST_CASE("rotating and writing KV at once gives the bits of doing it apart") {
  constexpr int kDim = 6;
  constexpr int kHeads = 4;
  constexpr int kKvHeads = 2;
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    RandomStream random(15);
    KvMemory apart(*backend, kKvHeads, kDim, 8);
    KvMemory at_once(*backend, kKvHeads, kDim, 8);
    RandomStream order(16);
    const std::vector<BlockIndex> first = apart.Table(40, order);
    const std::vector<BlockIndex> second = apart.Table(20, order);
    const std::vector<SequenceSlice> slices = {
        {.blocks = first, .first_row = 0, .tokens = 5, .first_position = 30},
        {.blocks = second, .first_row = 5, .tokens = 1, .first_position = 16}};
    const std::vector<std::int32_t> positions = {30, 31, 32, 33, 34, 16};
    const std::vector<double> frequencies = {1, 0.1, 0.01};
    Tensor qkv = Tensor::Random(6, (kHeads + 2 * kKvHeads) * kDim, random);
    Tensor same = qkv;
    const auto columns = [](Tensor& x, std::int64_t from, std::int64_t count) {
      Rows rows = x.View();
      rows.data += from;
      rows.columns = count;
      return rows;
    };

    backend->RopeAndWriteKv(at_once.Layer(), slices, positions, frequencies, qkv.View());
    backend->Rope(columns(same, 0, (kHeads + kKvHeads) * kDim), kDim, positions, frequencies);
    backend->WriteKv(apart.Layer(), slices, columns(same, kHeads * kDim, kKvHeads * kDim),
                     columns(same, (kHeads + kKvHeads) * kDim, kKvHeads * kDim));

    for (std::int64_t row = 0; row < 6; ++row) {
      std::vector<float> got = qkv.Row(row);
      std::vector<float> wanted = same.Row(row);
      got.resize(kHeads * kDim);
      wanted.resize(kHeads * kDim);
      CHECK(SameBits(got, wanted));
    }
    CHECK(qkv.GapIntact());
    const std::size_t bytes = 8 * apart.Layer().BlockBytes();
    std::vector<std::byte> left(bytes);
    std::vector<std::byte> right(bytes);
    backend->Copy(left.data(), apart.Layer().base, bytes);
    backend->Copy(right.data(), at_once.Layer().base, bytes);
    CHECK(left == right);
  }
}

TEST_CASE("the highest of a row come in order, of equals the lower column first") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    RandomStream random(17);
    for (const std::int64_t width : {1, 7, 256, 2000}) {
      for (const std::int64_t count : {1, 5, 64}) {
        if (count > width) continue;
        INFO(one.name << ", " << count << " of " << width);
        Tensor x = Tensor::Random(4, width, random);
        for (std::int64_t c = 0; c < width; ++c) {
          x.View(1, 1).data[c] = static_cast<float>(random.Between(-2, 2));       // many alike
          x.View(2, 1).data[c] = c % 256 == 3 ? 100 + static_cast<float>(c) : 0;  // all in one thread
          x.View(3, 1).data[c] = c % 3 == 0 ? -std::numeric_limits<float>::infinity() : -0.0F;
        }
        std::vector<std::int32_t> columns(static_cast<std::size_t>(4 * count), -1);
        std::vector<float> values(columns.size());

        backend->Highest(x.View(), count, columns, values);

        for (std::int64_t row = 0; row < 4; ++row) {
          std::vector<std::int32_t> order(static_cast<std::size_t>(width));
          std::iota(order.begin(), order.end(), 0);
          std::stable_sort(order.begin(), order.end(),
                           [&](std::int32_t a, std::int32_t b) { return x.At(row, a) > x.At(row, b); });
          bool right = true;
          for (std::int64_t i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(row * count + i);
            right = right && columns[at] == order[static_cast<std::size_t>(i)] &&
                    values[at] == x.At(row, columns[at]);
          }
          CHECK(right);
        }
      }
    }
  }
}

/// The column that doubles which are summed in order choose, at most one of every 2^29 differently.
std::int32_t DrawOf(const Tensor& x, std::int64_t row, std::int64_t width, const RowDraw& draw,
                    double& total) {
  double highest = -std::numeric_limits<double>::infinity();
  for (std::int64_t c = 0; c < width; ++c) highest = std::max(highest, static_cast<double>(x.At(row, c)));
  std::vector<double> weights;
  total = 0;
  for (std::int64_t c = 0; c < width; ++c) {
    const double weight = std::exp((static_cast<double>(x.At(row, c)) - highest) / draw.temperature);
    weights.push_back(weight >= draw.min_p ? weight : 0);
    total += weights.back();
  }
  double reached = 0;
  for (std::int64_t c = 0; c < width; ++c) {
    reached += weights[static_cast<std::size_t>(c)];
    if (reached > draw.uniform * total) return static_cast<std::int32_t>(c);
  }
  return -1;
}

TEST_CASE("a column is drawn by its weight, and where roundings could choose another none is told") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    const bool draws = backend->Name().starts_with("cuda/");
    RandomStream random(23);
    for (const std::int64_t width : {1, 7, 256, 3001}) {
      INFO(one.name << ", width " << width);
      Tensor x = Tensor::Random(12, width, random);
      for (std::int64_t row = 0; row < 12; ++row) {
        for (std::int64_t c = 0; c < width; ++c) x.View(row, 1).data[c] *= 1 + static_cast<float>(row % 5);
      }
      x.View(4, 1).data[width / 2] = -std::numeric_limits<float>::infinity();
      x.View(5, 1).data[width / 2] = std::numeric_limits<float>::quiet_NaN();
      x.View(6, 1).data[width / 2] = std::numeric_limits<float>::infinity();
      for (std::int64_t c = 0; c < width; ++c) {
        x.View(7, 1).data[c] = 2;                                                 // all alike
        x.View(8, 1).data[c] = -std::numeric_limits<float>::infinity();           // none
        x.View(9, 1).data[c] = c == width - 1 ? 200 : static_cast<float>(c % 9);  // one takes all
      }
      std::vector<RowDraw> requests;
      for (int row = 0; row < 12; ++row)
        requests.push_back({.temperature = 0.3 + 0.2 * row, .uniform = 0.05 + 0.9 * random.Uniform()});
      requests[1].min_p = 0.25;
      requests[2].temperature = 0;
      requests[7].uniform = 0.5 + 0x1p-40;  // next to a border of two columns, where they are even in number
      requests[10].uniform = 0;             // at the very beginning
      requests[11].min_p = 1;               // the highest's own weight
      std::vector<DrawnRow> drawn(12, {.column = 77, .total = -1});

      backend->Draw(x.View(), requests, drawn);

      for (std::int64_t row = 0; row < 12; ++row) {
        const DrawnRow& got = drawn[static_cast<std::size_t>(row)];
        INFO("row " << row);
        const bool never = row == 2 || row == 5 || row == 6 || row == 8 || row == 10 || row == 11 ||
                           (row == 7 && width % 2 == 0) || (row == 4 && width == 1);
        if (!draws || never) {
          CHECK(got.column == -1);
          continue;
        }
        double total = 0;
        CHECK(got.column == DrawOf(x, row, width, requests[static_cast<std::size_t>(row)], total));
        CHECK(std::abs(got.total - total) <= 0x1p-30 * total);
      }
    }
  }
}

TEST_CASE("gating multiplies a row by the logistic function of its gate") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    RandomStream random(14);
    Tensor x = Tensor::Random(3, 9, random);
    Tensor gate = Tensor::Random(3, 1, random, 4);
    Matrix wanted = x.ToMatrix();
    for (int r = 0; r < 3; ++r) {
      for (int c = 0; c < 9; ++c) wanted.At(r, c) /= 1 + std::exp(-static_cast<double>(gate.At(r, 0)));
    }

    backend->GateRows(x.View(), gate.View());

    CHECK(WorstError(x, wanted) < 1e-6);
    CHECK(x.GapIntact());
  }
}

}  // namespace
}  // namespace baton::kernels
