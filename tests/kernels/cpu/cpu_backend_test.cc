#include <algorithm>
#include <cstdint>

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kernels/backend.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels {
namespace {

TEST_CASE("every processor has the portable instruction set, last in the list") {
  const std::vector<std::string> sets = CpuInstructionSets();

  REQUIRE(!sets.empty());
  CHECK(sets.back() == "portable");
}

TEST_CASE("an instruction set that is unknown is refused, and the message lists those there are") {
  const auto backend = CreateCpuBackend({.instruction_set = "mmx"});

  REQUIRE(!backend.ok());
  CHECK(backend.status().code() == kInvalidArgument);
  CHECK(Message(backend.status()).find("'mmx'") != std::string::npos);
  for (const std::string& set : CpuInstructionSets())
    CHECK(Message(backend.status()).find(set) != std::string::npos);
}

TEST_CASE("a number of threads below 0 is refused") {
  CHECK(CreateCpuBackend({.threads = -1}).status().code() == kInvalidArgument);
}

TEST_CASE("a backend's name is device, instruction set and compute class") {
  for (const std::string& set : CpuInstructionSets()) {
    const auto exact =
        *CreateCpuBackend({.compute = ComputeClass::kF32, .threads = 1, .instruction_set = set});
    const auto fast =
        *CreateCpuBackend({.compute = ComputeClass::kBF16, .threads = 1, .instruction_set = set});

    CHECK(exact->Name() == "cpu/" + set + "/f32");
    CHECK(exact->KvType() == DType::kF32);
    CHECK(fast->Name() == "cpu/" + set + "/bf16");
    CHECK(fast->KvType() == DType::kBF16);
  }
}

TEST_CASE("auto is the best instruction set") {
  const auto backend = *CreateCpuBackend({.threads = 1});

  CHECK(backend->Name() == "cpu/" + CpuInstructionSets().front() + "/bf16");
}

TEST_CASE("allocated memory is zeroed, 2 MiB aligned and outlives its backend") {
  Buffer kept;
  {
    const auto backend = *CreateCpuBackend({.threads = 1});
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{5'000'000}}) {
      auto buffer = backend->Allocate(bytes);
      REQUIRE(buffer.ok());
      CHECK(buffer->Bytes() == bytes);
      CHECK(reinterpret_cast<std::uintptr_t>(buffer->Region().address) % (2U << 20) == 0);
      const auto* begin = buffer->As<unsigned char>();
      CHECK(std::all_of(begin, begin + bytes, [](unsigned char b) { return b == 0; }));
      kept = *std::move(buffer);
    }
  }
  kept.As<unsigned char>()[4'999'999] = 7;
  CHECK(kept.As<unsigned char>()[4'999'999] == 7);
}

TEST_CASE("memory that the machine does not have is refused, with its size") {
  const auto backend = *CreateCpuBackend({.threads = 1});

  for (const std::size_t bytes : {std::size_t{1} << 60, ~std::size_t{0}}) {
    const auto buffer = backend->Allocate(bytes);
    REQUIRE(!buffer.ok());
    CHECK(buffer.status().code() == kResourceExhausted);
    CHECK(Message(buffer.status()).find(std::to_string(bytes)) != std::string::npos);
  }
}

TEST_CASE("many rows of a wide matrix have the bits that each has alone") {
  constexpr std::int64_t kOutputs = 299;
  for (const std::string& set : CpuInstructionSets()) {
    for (const std::int64_t columns : {2048, 5655}) {
      const auto backend =
          *CreateCpuBackend({.compute = ComputeClass::kBF16, .threads = 2, .instruction_set = set});
      RandomStream random(52);
      const StoredWeight weight(kOutputs, columns, DType::kBF16, random);
      const auto packed = *backend->Pack(weight.View());
      Tensor in = Tensor::Random(300, columns, random);
      Tensor alone(300, kOutputs);
      for (std::int64_t r = 0; r < 300; ++r) backend->MatMul(*packed, in.View(r, 1), alone.View(r, 1));

      for (const std::int64_t rows : {33, 50, 65, 256, 300}) {
        CAPTURE(set, columns, rows);
        Tensor out(rows, kOutputs);
        backend->MatMul(*packed, in.View(0, rows), out.View());
        std::int64_t same = 0;
        for (std::int64_t r = 0; r < rows; ++r) same += SameBits(out.Row(r), alone.Row(r)) ? 1 : 0;
        CHECK(same == rows);
      }
    }
  }
}

TEST_CASE("a matrix without rows or columns is refused") {
  const auto backend = *CreateCpuBackend({.threads = 1});
  const std::byte nothing{};

  for (const WeightView& view :
       {WeightView{&nothing, DType::kF32, 0, 4}, WeightView{&nothing, DType::kF32, 4, 0}}) {
    CHECK(backend->Pack(view).status().code() == kInvalidArgument);
  }
}

TEST_CASE("a moved buffer frees once") {
  static int freed = 0;
  {
    Buffer a({}, [](MemoryRegion) { ++freed; });
    Buffer b(std::move(a));
    Buffer c;
    c = std::move(b);
    CHECK(freed == 0);
    c = Buffer({}, [](MemoryRegion) { freed += 10; });
    CHECK(freed == 1);
  }
  CHECK(freed == 11);
}

}  // namespace
}  // namespace baton::kernels
