// Attention and the KV memory it reads, on every backend.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <catch2/catch.hpp>

#include "tests/kernels/backends.h"
#include "tests/kernels/tensors.h"
#include "tests/support/reference.h"

namespace baton::kernels {
namespace {

struct Shape {
  int heads, kv_heads, head_dim, window;
  std::int64_t tokens;
};

/// Odd dimensions, groups of 1 to 40 heads, windows shorter and longer than a tile, lengths around the tile's
/// edges.
const Shape kShapes[] = {{4, 4, 48, 0, 130},  {8, 2, 64, 0, 200},  {6, 1, 6, 0, 65},     {3, 3, 2, 0, 64},
                         {4, 2, 80, 0, 63},   {8, 1, 128, 0, 129}, {40, 1, 20, 0, 70},   {2, 1, 256, 0, 66},
                         {4, 2, 32, 10, 150}, {2, 2, 34, 64, 193}, {4, 1, 16, 100, 260}, {2, 1, 18, 1, 70}};

/// A sequence whose q, k and v are known.
struct Sequence {
  Tensor q, k, v;
  std::vector<BlockIndex> blocks;

  Sequence(const Shape& shape, KvMemory& memory, RandomStream& random, double size = 2)
      : q(Tensor::Random(shape.tokens, std::int64_t{shape.heads} * shape.head_dim, random, size)),
        k(Tensor::Random(shape.tokens, std::int64_t{shape.kv_heads} * shape.head_dim, random, size)),
        v(Tensor::Random(shape.tokens, std::int64_t{shape.kv_heads} * shape.head_dim, random, size)),
        blocks(memory.Table(shape.tokens, random)) {}

  [[nodiscard]] SequenceSlice Slice(std::int64_t first, std::int64_t tokens, std::int64_t row = 0) const {
    return {.blocks = blocks, .first_row = row, .tokens = tokens, .first_position = first};
  }
};

AttentionShape ShapeOf(const Shape& shape) {
  return {.heads = shape.heads,
          .scale = 1 / std::sqrt(static_cast<float>(shape.head_dim)),
          .window = shape.window};
}

/// Writes and attends `tokens` tokens from `first` on, as the engine does in one step.
void Step(Backend& backend, const KvMemory& memory, const Shape& shape, Sequence& sequence,
          std::int64_t first, std::int64_t tokens, Tensor& out) {
  const SequenceSlice slice = sequence.Slice(first, tokens);
  backend.WriteKv(memory.Layer(), {&slice, 1}, sequence.k.View(first, tokens),
                  sequence.v.View(first, tokens));
  backend.Attention(memory.Layer(), {&slice, 1}, ShapeOf(shape), sequence.q.View(first, tokens),
                    out.View(first, tokens));
  backend.Synchronize();
}

std::int64_t Blocks(const Shape& shape) {
  return 3 + (shape.tokens + 15) / 16;
}

TEST_CASE("attention is the softmax-weighted sum of the values that a token may see") {
  for (const BackendCase& one : BackendCases()) {
    const auto backend = one.make();
    const bool bf16 = backend->KvType() == DType::kBF16;
    RandomStream random(21);
    for (const Shape& shape : kShapes) {
      INFO(one.name << ", heads " << shape.heads << "/" << shape.kv_heads << " dim " << shape.head_dim
                    << " window " << shape.window << " tokens " << shape.tokens);
      KvMemory memory(*backend, shape.kv_heads, shape.head_dim, Blocks(shape));
      Sequence sequence(shape, memory, random);
      Tensor out(shape.tokens, sequence.q.Columns());

      Step(*backend, memory, shape, sequence, 0, shape.tokens, out);

      const auto scale = static_cast<double>(ShapeOf(shape).scale);
      const reference::Matrix wanted = reference::Attention(
          {.heads = shape.heads,
           .kv_heads = shape.kv_heads,
           .head_dim = shape.head_dim,
           .scale = scale,
           .window = shape.window},
          sequence.q.ToMatrix(bf16), sequence.k.ToMatrix(bf16), sequence.v.ToMatrix(bf16));
      // f32: rounding of the scores (up to 20 here) enters the exponent. bf16: weights carry 8 bits, values
      // are at most 2.
      const double tolerance = bf16 ? 2.0 / 256 : 1e-5;
      double worst = 0;
      for (std::int64_t t = 0; t < shape.tokens; ++t) {
        for (std::int64_t c = 0; c < out.Columns(); ++c) {
          const double error = std::abs(static_cast<double>(out.At(t, c)) - wanted.At(t, c));
          worst = error <= worst ? worst : error;
        }
      }
      CHECK(worst < tolerance);
      CHECK(out.GapIntact());
    }
  }
}

TEST_CASE("a token's attention is the same to the bit in a prompt, in chunks and alone") {
  for (const std::vector<BackendCase>& group : NumericsClasses()) {
    for (const Shape& shape : kShapes) {
      std::vector<std::vector<float>> expected;
      for (const BackendCase& one : group) {
        INFO(one.name << ", heads " << shape.heads << "/" << shape.kv_heads << " dim " << shape.head_dim
                      << " window " << shape.window);
        const auto backend = one.make();
        for (const std::int64_t longest : {shape.tokens, std::int64_t{50}, std::int64_t{1}}) {
          RandomStream random(22);
          KvMemory memory(*backend, shape.kv_heads, shape.head_dim, Blocks(shape));
          Sequence sequence(shape, memory, random);
          Tensor out(shape.tokens, sequence.q.Columns());
          for (std::int64_t first = 0; first < shape.tokens;) {
            const std::int64_t most = std::min(longest, shape.tokens - first);
            const std::int64_t tokens = longest == 50 ? random.Between(1, most) : most;
            Step(*backend, memory, shape, sequence, first, tokens, out);
            first += tokens;
          }
          if (expected.empty()) {
            for (std::int64_t t = 0; t < shape.tokens; ++t) expected.push_back(out.Row(t));
          }
          bool same = true;
          for (std::int64_t t = 0; t < shape.tokens; ++t) {
            same = same && SameBits(out.Row(t), expected[static_cast<std::size_t>(t)]);
          }
          CHECK(same);
        }
      }
    }
  }
}

TEST_CASE("sequences in one batch attend to their own KV alone") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    const Shape shape{.heads = 4, .kv_heads = 2, .head_dim = 24, .window = 0, .tokens = 100};
    RandomStream random(23);
    KvMemory memory(*backend, shape.kv_heads, shape.head_dim, 3 * Blocks(shape));
    Sequence a(shape, memory, random);
    Sequence b(shape, memory, random);
    Tensor alone_a(shape.tokens, a.q.Columns());
    Tensor alone_b(shape.tokens, b.q.Columns());
    Step(*backend, memory, shape, a, 0, 99, alone_a);
    Step(*backend, memory, shape, a, 99, 1, alone_a);
    Step(*backend, memory, shape, b, 0, 40, alone_b);
    Step(*backend, memory, shape, b, 40, 60, alone_b);

    // The last token of a beside the last 60 of b, the rows in another order than the slices.
    Tensor q(61, a.q.Columns());
    Tensor out(61, a.q.Columns());
    for (std::int64_t i = 0; i < 60; ++i) {
      std::ranges::copy(b.q.Row(40 + i), q.View(i, 1).data);
    }
    std::ranges::copy(a.q.Row(99), q.View(60, 1).data);
    const SequenceSlice slices[] = {a.Slice(99, 1, 60), b.Slice(40, 60, 0)};
    backend->Attention(memory.Layer(), slices, ShapeOf(shape), q.View(), out.View());
    backend->Synchronize();

    CHECK(SameBits(out.Row(60), alone_a.Row(99)));
    for (std::int64_t i = 0; i < 60; ++i) CHECK(SameBits(out.Row(i), alone_b.Row(40 + i)));
  }
}

TEST_CASE("attention survives scores far beyond what exp can take") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    const Shape shape{.heads = 2, .kv_heads = 1, .head_dim = 16, .window = 0, .tokens = 140};
    RandomStream random(24);
    KvMemory memory(*backend, shape.kv_heads, shape.head_dim, Blocks(shape));
    Sequence sequence(shape, memory, random, 200);
    Tensor out(shape.tokens, sequence.q.Columns());

    Step(*backend, memory, shape, sequence, 0, shape.tokens, out);

    bool finite = true;
    for (std::int64_t t = 0; t < shape.tokens; ++t) {
      for (const float value : out.Row(t)) finite = finite && std::abs(value) <= 201;
    }
    CHECK(finite);
  }
}

TEST_CASE("KV lies in its block as [k|v][head][token][dim]") {
  for (const BackendCase& one : BackendCases()) {
    INFO(one.name);
    const auto backend = one.make();
    const Shape shape{.heads = 3, .kv_heads = 3, .head_dim = 10, .window = 0, .tokens = 20};
    RandomStream random(25);
    KvMemory memory(*backend, shape.kv_heads, shape.head_dim, Blocks(shape));
    Sequence sequence(shape, memory, random);
    const SequenceSlice slice = sequence.Slice(0, 20);

    backend->WriteKv(memory.Layer(), {&slice, 1}, sequence.k.View(), sequence.v.View());
    backend->Synchronize();

    const KvLayer& layer = memory.Layer();
    for (std::int64_t t = 0; t < 20; ++t) {
      for (int half = 0; half < 2; ++half) {
        for (int c = 0; c < 30; ++c) {
          const std::size_t row =
              (static_cast<std::size_t>(half) * 3 + static_cast<std::size_t>(c / 10)) * 16 +
              static_cast<std::size_t>(t % 16);
          const std::size_t element = row * 10 + static_cast<std::size_t>(c % 10);
          const std::byte* at = layer.base +
                                layer.BlockBytes() * sequence.blocks[static_cast<std::size_t>(t / 16)].value +
                                element * SizeOf(layer.dtype);
          std::uint32_t bits = 0;
          std::memcpy(layer.dtype == DType::kF32 ? reinterpret_cast<std::byte*>(&bits)
                                                 : reinterpret_cast<std::byte*>(&bits) + 2,
                      at, SizeOf(layer.dtype));
          const float wanted = (half == 0 ? sequence.k : sequence.v).At(t, c);
          const float stored = layer.dtype == DType::kF32 ? wanted : reference::RoundToBf16(wanted);
          REQUIRE(std::bit_cast<float>(bits) == stored);
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton::kernels
