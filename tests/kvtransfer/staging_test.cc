#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>

#include "kvtransfer/staging.h"

namespace baton::kvtransfer {
namespace {

std::vector<float> Numbers(std::size_t count) {
  std::vector<float> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = static_cast<float>(i) - 30;
  return numbers;
}

TEST_CASE("pieces are converted to their places in a slot, what none covers is zero") {
  const bool own_thread = GENERATE(false, true);
  const auto stager = CreateHostStager(2, 64, own_thread);
  const std::vector<float> numbers = Numbers(60);
  const auto* bytes = reinterpret_cast<const std::byte*>(numbers.data());
  std::ranges::fill(stager->Slot(SlotIndex(1)), std::byte{0xff});  // of an earlier message
  std::atomic<int> done = 0;

  stager->Gather(
      SlotIndex(1),
      {.from = Element::kF32,
       .to = Element::kBf16,
       .pieces = {{.source = bytes + 40 * 4, .count = 3, .at = 10}, {.source = bytes, .count = 2, .at = 0}},
       .bytes = 20},
      [&](const absl::Status& status) { done += status.ok() ? 1 : 0; });
  stager->Finish();

  CHECK(done == 1);
  const std::span<std::byte> slot = stager->Slot(SlotIndex(1));
  std::vector<float> made(10);
  ConvertRow(Element::kBf16, slot.first(20), Element::kF32, std::as_writable_bytes(std::span(made)), 10);
  CHECK(made == std::vector<float>{-30, -29, 0, 0, 0, 10, 11, 12, 0, 0});
  CHECK(slot[20] == std::byte{0xff});  // nothing behind the message is touched
}

TEST_CASE("Finish waits for every job that was begun") {
  const auto stager = CreateHostStager(8, 1U << 20, /*own_thread=*/true);
  const std::vector<float> numbers = Numbers(1U << 18);
  std::atomic<int> done = 0;
  for (std::uint32_t slot = 0; slot < 8; ++slot) {
    stager->Gather(SlotIndex(slot),
                   {.pieces = {{.source = reinterpret_cast<const std::byte*>(numbers.data()),
                                .count = numbers.size(),
                                .at = 0}},
                    .bytes = 1U << 20},
                   [&](const absl::Status&) { ++done; });
  }

  stager->Finish();

  CHECK(done == 8);
}

TEST_CASE("a slot is taken once until it is given back") {
  FreeSlots slots(2);

  const auto first = slots.Take();
  const auto second = slots.Take();
  REQUIRE((first && second));
  CHECK(*first != *second);
  CHECK_FALSE(slots.Take());
  CHECK_FALSE(slots.AllFree());
  slots.Give(*first);
  CHECK(slots.Take() == first);
  slots.Give(*second);
  slots.Give(*first);
  CHECK(slots.AllFree());
}

}  // namespace
}  // namespace baton::kvtransfer
