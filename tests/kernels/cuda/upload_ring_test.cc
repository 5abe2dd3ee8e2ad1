#include "kernels/cuda/upload_ring.h"

#include <cstring>
#include <vector>

#include <catch2/catch.hpp>

namespace baton::kernels::cuda {
namespace {

std::vector<std::byte> Filled(std::size_t bytes, int value) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

TEST_CASE("an upload ring places arrays apart, aligned, with their content") {
  std::vector<std::byte> area(4096);
  UploadRing ring(area);

  const auto a = ring.Put(Filled(300, 1));
  const auto b = ring.Put(Filled(10, 2));

  CHECK((a.copied && b.copied));
  CHECK(a.offset % UploadRing::kAlignment == 0);
  CHECK(b.offset % UploadRing::kAlignment == 0);
  CHECK(b.offset >= a.offset + 300);
  CHECK(std::memcmp(area.data() + a.offset, Filled(300, 1).data(), 300) == 0);
  CHECK(std::memcmp(area.data() + b.offset, Filled(10, 2).data(), 10) == 0);
}

TEST_CASE("an array that is in the ring already is found, one that differs is not") {
  std::vector<std::byte> area(4096);
  UploadRing ring(area);
  const auto first = ring.Put(Filled(300, 1));

  const auto same = ring.Put(Filled(300, 1));
  const auto shorter = ring.Put(Filled(299, 1));
  const auto other = ring.Put(Filled(300, 3));

  CHECK(same.offset == first.offset);
  CHECK_FALSE(same.copied);
  CHECK((shorter.copied && shorter.offset != first.offset));
  CHECK((other.copied && other.offset != first.offset));
}

TEST_CASE("a ring is full, and empty again after a restart, when nothing old is found in it") {
  std::vector<std::byte> area(1024);
  UploadRing ring(area);
  CHECK(ring.HasRoom(1, 700));
  CHECK_FALSE(ring.HasRoom(2, 700));
  const auto old = ring.Put(Filled(700, 1));
  CHECK_FALSE(ring.HasRoom(1, 1));

  ring.Restart();

  CHECK(ring.HasRoom(1, 700));
  const auto again = ring.Put(Filled(700, 1));
  CHECK(again.copied);
  CHECK(again.offset == old.offset);
}

TEST_CASE("only the last arrays are looked for, however many a step has") {
  std::vector<std::byte> area(64 * UploadRing::kAlignment);
  UploadRing ring(area);
  for (int i = 0; i < 40; ++i) static_cast<void>(ring.Put(Filled(8, i)));

  CHECK_FALSE(ring.Put(Filled(8, 39)).copied);
  CHECK_FALSE(ring.Put(Filled(8, 30)).copied);
  CHECK(ring.Put(Filled(8, 0)).copied);
}

}  // namespace
}  // namespace baton::kernels::cuda
