// Equal bits however a batch is put together: the property that split = whole rests on.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <catch2/catch.hpp>

#include "tests/kernels/backends.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels {
namespace {

TEST_CASE("a row's matmul is the same to the bit alone, in any batch and on any number of threads") {
  for (const std::vector<BackendCase>& group : NumericsClasses()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      std::vector<std::vector<float>> expected;
      for (const BackendCase& one : group) {
        const auto backend = one.make();
        RandomStream random(31);
        const StoredWeight weight(75, 333, dtype, random);
        Tensor in = Tensor::Random(40, 333, random);
        const auto packed = backend->Pack(weight.View());
        REQUIRE(packed.ok());
        if (expected.empty()) {
          for (std::int64_t r = 0; r < 40; ++r) {
            Tensor out(1, 75);
            backend->MatMul(**packed, in.View(r, 1), out.View());
            expected.push_back(out.Row(0));
          }
        }
        for (std::int64_t rows = 1; rows <= 40; ++rows) {
          INFO(one.name << ", " << rows << " rows, weights " << std::string(Name(dtype)));
          std::vector<std::int64_t> picked;
          for (std::int64_t i = 0; i < rows; ++i) picked.push_back(random.Between(0, 39));
          Tensor batch = in.Pick(picked);
          Tensor out(rows, 75);
          backend->MatMul(**packed, batch.View(), out.View());
          bool same = true;
          for (std::int64_t i = 0; i < rows; ++i) {
            same = same && SameBits(out.Row(i),
                                    expected[static_cast<std::size_t>(picked[static_cast<std::size_t>(i)])]);
          }
          CHECK(same);
        }
      }
    }
  }
}

constexpr int kHeads = 4;
constexpr int kKvHeads = 2;
constexpr int kDim = 20;
constexpr int kWidth = kHeads * kDim;
constexpr int kKvWidth = kKvHeads * kDim;
constexpr int kHidden = 100;

/// One decoder layer with random weights: every operation that mixes rows, or could.
class Layer {
 public:
  explicit Layer(Backend& backend) : backend_(backend), random_(77) {
    qkv_ = Matrix(kWidth + 2 * kKvWidth, kWidth);
    output_ = Matrix(kWidth, kWidth);
    gate_up_ = Matrix(2 * kHidden, kWidth);
    down_ = Matrix(kWidth, kHidden);
    norm_ = Tensor::Random(1, kWidth, random_, 2).Row(0);
    for (int i = 0; i < kDim / 2; ++i) frequencies_.push_back(std::pow(10000.0, -2.0 * i / kDim));
  }

  /// x is [rows][kWidth] and becomes the layer's output.
  void Run(const KvMemory& memory, std::span<const SequenceSlice> slices,
           std::span<const std::int32_t> positions, Tensor& x) {
    const std::int64_t rows = x.RowCount();
    Tensor normed(rows, kWidth);
    Tensor qkv(rows, kWidth + 2 * kKvWidth);
    Tensor attended(rows, kWidth);
    Tensor gate_up(rows, 2 * kHidden);
    Tensor activated(rows, kHidden);
    Tensor change(rows, kWidth);
    const auto columns = [&](std::int64_t first, std::int64_t count) {
      return Rows{qkv.View().data + first, rows, count, qkv.View().stride};
    };
    backend_.RmsNorm(x.View(), norm_, 1e-5F, normed.View());
    backend_.MatMul(*qkv_, normed.View(), qkv.View());
    backend_.Rope(columns(0, kWidth), kDim, positions, frequencies_);
    backend_.Rope(columns(kWidth, kKvWidth), kDim, positions, frequencies_);
    backend_.WriteKv(memory.Layer(), slices, columns(kWidth, kKvWidth), columns(kWidth + kKvWidth, kKvWidth));
    backend_.Attention(memory.Layer(), slices, {.heads = kHeads, .scale = 0.3F, .window = 0},
                       columns(0, kWidth), attended.View());
    backend_.MatMul(*output_, attended.View(), change.View());
    backend_.Add(x.View(), change.View());
    backend_.RmsNorm(x.View(), norm_, 1e-5F, normed.View());
    backend_.MatMul(*gate_up_, normed.View(), gate_up.View());
    backend_.SwiGlu(gate_up.View(), activated.View());
    backend_.MatMul(*down_, activated.View(), change.View());
    backend_.Add(x.View(), change.View());
    backend_.Synchronize();
  }

 private:
  std::unique_ptr<PackedMatrix> Matrix(std::int64_t outputs, std::int64_t inputs) {
    return *backend_.Pack(StoredWeight(outputs, inputs, DType::kBF16, random_).View());
  }

  Backend& backend_;
  RandomStream random_;
  std::unique_ptr<PackedMatrix> qkv_, output_, gate_up_, down_;
  std::vector<float> norm_;
  std::vector<double> frequencies_;
};

/// A sequence on its way through the layer.
struct Sequence {
  Tensor in;
  std::vector<BlockIndex> blocks;
  std::int64_t done = 0;
  std::vector<std::vector<float>> out;
};

std::vector<Sequence> Sequences(KvMemory& memory, RandomStream& placement) {
  RandomStream content(5);
  std::vector<Sequence> sequences;
  for (const std::int64_t length : {1, 17, 64, 65, 150, 203}) {
    sequences.push_back(
        {.in = Tensor::Random(length, kWidth, content), .blocks = memory.Table(length, placement)});
  }
  return sequences;
}

/// Runs every sequence to its end: each step takes some of them, in a random order, by random chunks.
std::vector<Sequence> RunAtRandom(Backend& backend, RandomStream random) {
  KvMemory memory(backend, kKvHeads, kDim, 60);
  Layer layer(backend);
  std::vector<Sequence> sequences = Sequences(memory, random);
  const auto unfinished = [](const Sequence& s) { return s.done < s.in.RowCount(); };
  while (std::ranges::any_of(sequences, unfinished)) {
    std::vector<SequenceSlice> slices;
    std::vector<std::size_t> who;
    std::vector<std::int32_t> positions;
    std::int64_t rows = 0;
    const auto start = static_cast<std::size_t>(random.Between(0, 5));
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::size_t index = (start + i) % sequences.size();
      Sequence& s = sequences[index];
      if (!unfinished(s) || random.Between(0, 3) == 0) continue;
      const std::int64_t most =
          std::min<std::int64_t>(s.in.RowCount() - s.done, random.Between(0, 1) == 0 ? 1 : 90);
      const std::int64_t tokens = random.Between(1, most);
      slices.push_back({.blocks = s.blocks, .first_row = rows, .tokens = tokens, .first_position = s.done});
      who.push_back(index);
      for (std::int64_t t = 0; t < tokens; ++t) positions.push_back(static_cast<std::int32_t>(s.done + t));
      rows += tokens;
    }
    if (rows == 0) continue;
    Tensor x(rows, kWidth);
    for (std::size_t i = 0; i < slices.size(); ++i) {
      for (std::int64_t t = 0; t < slices[i].tokens; ++t) {
        std::ranges::copy(sequences[who[i]].in.Row(slices[i].first_position + t),
                          x.View(slices[i].first_row + t, 1).data);
      }
    }
    layer.Run(memory, slices, positions, x);
    for (std::size_t i = 0; i < slices.size(); ++i) {
      for (std::int64_t t = 0; t < slices[i].tokens; ++t) {
        sequences[who[i]].out.push_back(x.Row(slices[i].first_row + t));
      }
      sequences[who[i]].done += slices[i].tokens;
    }
  }
  return sequences;
}

TEST_CASE("a layer gives each token equal bits in random batches and chunkings, whatever the threads") {
  for (const std::vector<BackendCase>& group : NumericsClasses()) {
    std::vector<Sequence> expected;
    for (const BackendCase& one : group) {
      const auto backend = one.make();
      for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        INFO(one.name << ", seed " << seed);
        const std::vector<Sequence> sequences = RunAtRandom(*backend, RandomStream(seed));
        if (expected.empty()) expected = sequences;
        for (std::size_t s = 0; s < sequences.size(); ++s) {
          bool same = sequences[s].out.size() == expected[s].out.size();
          for (std::size_t t = 0; same && t < sequences[s].out.size(); ++t) {
            same = SameBits(sequences[s].out[t], expected[s].out[t]);
          }
          INFO("sequence " << s);
          CHECK(same);
        }
        for (const Sequence& s : sequences) {
          for (const float value : s.out.back()) REQUIRE(std::isfinite(value));
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton::kernels
