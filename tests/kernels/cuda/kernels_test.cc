// CUDA's kernels, emulated: what the conformance suite does not single out.
#include <cmath>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kernels/cuda/fast_matmul.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels::cuda {
namespace {

TEST_CASE("every kernel of a matmul gives a row the same bits, whatever the splits") {
  RandomStream random(41);
  const StoredWeight weight(150, 333, DType::kBF16, random);
  Tensor in = Tensor::Random(150, 333, random);
  std::vector<std::vector<float>> expected;
  for (const int processors : {1, 5, 30, 500}) {
    const auto backend = *CreateBackendOn(emulated::CreateDevice(processors), {});
    const auto packed = *backend->Pack(weight.View());
    for (const std::int64_t rows : {1, 9, 17, 33, 70, 150}) {
      INFO(processors << " processors, " << rows << " rows");
      Tensor out(rows, 150);
      backend->MatMul(*packed, in.View(0, rows), out.View());
      if (expected.empty()) {
        for (std::int64_t r = 0; r < 150; ++r) {
          Tensor one(1, 150);
          backend->MatMul(*packed, in.View(r, 1), one.View());
          expected.push_back(one.Row(0));
        }
      }
      bool same = true;
      for (std::int64_t r = 0; r < rows; ++r)
        same = same && SameBits(out.Row(r), expected[static_cast<std::size_t>(r)]);
      CHECK(same);
      CHECK(out.GapIntact());
    }
  }
}

TEST_CASE("the shares of ranks add up to the whole, to the bit") {
  RandomStream random(42);
  const StoredWeight weight(40, 333, DType::kBF16, random);
  for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
    for (const std::int64_t rows : {3, 40, 140}) {
      const auto backend = *CreateBackendOn(emulated::CreateDevice(1), {.compute = compute});
      Tensor in = Tensor::Random(rows, 333, random);
      Tensor whole(rows, 40);
      backend->MatMul(**backend->Pack(weight.View()), in.View(), whole.View());
      std::vector<Tensor> parts;
      std::int64_t column = 0;
      for (int rank = 0; rank < 4; ++rank) {
        const auto share = *backend->Pack(weight.View(), {.segments = {.first = 2 * rank, .count = 2}});
        Rows columns = in.View();
        columns.data += column;
        columns.columns = share->Columns();
        column += share->Columns();
        parts.emplace_back(rows, 40);
        backend->MatMul(*share, columns, parts.back().View());
      }
      backend->Add(parts[0].View(), parts[1].View());
      backend->Add(parts[2].View(), parts[3].View());
      backend->Add(parts[0].View(), parts[2].View());

      INFO(std::string(Name(compute)) << ", " << rows << " rows");
      for (std::int64_t r = 0; r < rows; ++r) CHECK(SameBits(parts[0].Row(r), whole.Row(r)));
    }
  }
}

TEST_CASE("a long sequence's token has the same bits whether its spans are shared out or not") {
  constexpr int kHeads = 6;
  constexpr int kDim = 40;
  constexpr std::int64_t kTokens = 1100;
  for (const int window : {0, 300}) {
    for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
      std::vector<float> expected;
      for (const int processors : {1, 8, 100}) {
        INFO("window " << window << " " << std::string(Name(compute)) << " processors " << processors);
        const auto backend = *CreateBackendOn(emulated::CreateDevice(processors), {.compute = compute});
        RandomStream random(43);
        KvMemory memory(*backend, 2, kDim, 80);
        const std::vector<BlockIndex> table = memory.Table(kTokens, random);
        Tensor k = Tensor::Random(kTokens, 2 * kDim, random);
        Tensor v = Tensor::Random(kTokens, 2 * kDim, random);
        Tensor q = Tensor::Random(1, kHeads * kDim, random);
        Tensor out(1, kHeads * kDim);
        const SequenceSlice all{.blocks = table, .first_row = 0, .tokens = kTokens, .first_position = 0};
        const SequenceSlice last{.blocks = table, .first_row = 0, .tokens = 1, .first_position = kTokens - 1};
        backend->WriteKv(memory.Layer(), {&all, 1}, k.View(), v.View());
        backend->Attention(memory.Layer(), {&last, 1}, {.heads = kHeads, .scale = 0.2F, .window = window},
                           q.View(), out.View());
        if (expected.empty()) expected = out.Row(0);
        CHECK(SameBits(out.Row(0), expected));
      }
    }
  }
}

TEST_CASE("the highest of a row of NaNs are columns of that row") {
  const auto backend = *CreateBackendOn(emulated::CreateDevice(1), {});
  Tensor in(2, 300);
  for (std::int64_t c = 0; c < 300; ++c) {
    in.View(0, 1).data[c] = std::nanf("");
    in.View(1, 1).data[c] = c == 17 ? 1.0F : std::nanf("");
  }
  std::vector<std::int32_t> columns(6);
  std::vector<float> values(6);

  backend->Highest(in.View(), 3, columns, values);

  for (const std::int32_t column : columns) CHECK((column >= 0 && column < 300));
  CHECK(columns[3] == 17);
}

TEST_CASE("class int8 is refused with the classes that a GPU has") {
  const auto backend = CreateBackendOn(emulated::CreateDevice(1), {.compute = ComputeClass::kInt8});

  CHECK(backend.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::string(backend.status().message()).find("bf16, fp8 or f32") != std::string::npos);
}

TEST_CASE("a matrix that several threads convert has the rows that each converts alone") {
  RandomStream random(53);
  const StoredWeight weight(1400, 1600, DType::kF16, random);
  Tensor in = Tensor::Random(1, 1600, random);
  for (const ComputeClass compute : {ComputeClass::kF32, ComputeClass::kBF16}) {
    const auto backend = *CreateBackendOn(emulated::CreateDevice(4), {.compute = compute});
    Tensor whole(1, 1400);
    backend->MatMul(**backend->Pack(weight.View()), in.View(), whole.View());
    for (const std::int64_t first : {0, 655, 700, 1384}) {
      WeightView part = weight.View();
      part.data += first * 1600 * 2;
      part.rows = 16;
      Tensor out(1, 16);

      backend->MatMul(**backend->Pack(part), in.View(), out.View());

      bool same = true;
      for (std::int64_t c = 0; c < 16; ++c) same = same && out.At(0, c) == whole.At(0, first + c);
      CHECK(same);
    }
  }
}

TEST_CASE("a GPU whose blocks have too little shared memory is refused by name and with both sizes") {
  CHECK(HasSharedMemory({.name = "NVIDIA A100", .architecture = "sm80", .shared_bytes = 163 << 10}).ok());

  const absl::Status refused =
      HasSharedMemory({.name = "NVIDIA L40S", .architecture = "sm89", .shared_bytes = 99 << 10});

  CHECK(refused.code() == kFailedPrecondition);
  CHECK(Message(refused).find("(NVIDIA L40S, sm89) gives a block 99 KiB") != std::string::npos);
}

TEST_CASE("pieces are gathered into a slot and scattered from it, aligned or not") {
  RandomStream random(44);
  std::vector<std::byte> memory(5000);
  for (std::byte& b : memory) b = static_cast<std::byte>(random.Between(0, 255));
  std::vector<std::byte> slot(4096);
  const std::vector<PieceArgument> pieces = {
      {memory.data(), 0, 1024}, {memory.data() + 1500, 1024, 33}, {memory.data() + 2001, 1057, 2000}};

  emulated::kEmulatedLaunches.stage(
      nullptr, {.pieces = pieces.data(), .count = 3, .slot = slot.data(), .gather = true});
  std::vector<std::byte> copy(5000);
  std::vector<PieceArgument> back = pieces;
  for (PieceArgument& piece : back) piece.address = copy.data() + (piece.address - memory.data());
  emulated::kEmulatedLaunches.stage(
      nullptr, {.pieces = back.data(), .count = 3, .slot = slot.data(), .gather = false});

  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto bytes = static_cast<std::size_t>(pieces[i].bytes);
    CHECK(std::equal(pieces[i].address, pieces[i].address + bytes, slot.data() + pieces[i].offset));
    CHECK(std::equal(pieces[i].address, pieces[i].address + bytes, back[i].address));
  }
  CHECK(copy[1024] == std::byte{0});
  CHECK(copy[1533] == std::byte{0});
}

}  // namespace
}  // namespace baton::kernels::cuda
