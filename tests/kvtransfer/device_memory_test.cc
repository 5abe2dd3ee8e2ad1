#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "kvtransfer/device_landings.h"
#include "kvtransfer/receive_window.h"
#include "kvtransfer/send_plan.h"
#include "tests/kvtransfer/layout_pair.h"

/// Hand-offs of KV that the host cannot read: any other way than through the copier ends the test with a
/// fault.
namespace baton::kvtransfer {
namespace {

using test::HiddenMemory;
using test::Key;
using test::Layout;
using test::Pair;
using test::Table;
using test::Worker;

TEST_CASE("a prompt's KV arrives whole from, into and between devices' memory, alike and converted") {
  const std::string transport = GENERATE("loopback", "ucx");
  const auto [from_device, into_device] =
      GENERATE(table<bool, bool>({{true, false}, {false, true}, {true, true}}));
  const auto [source, target] = GENERATE(table<KvLayout, KvLayout>({
      {Layout(1, 16, "f32"), Layout(1, 16, "f32")},
      {Layout(2, 16, "bf16"), Layout(2, 16, "bf16")},
      {Layout(1, 16, "bf16"), Layout(1, 16, "f32")},
      {Layout(1, 16, "f32"), Layout(1, 16, "bf16")},
      {Layout(4, 16, "bf16"), Layout(2, 32, "f32")},
  }));
  CAPTURE(transport, from_device, into_device, source.ranks, source.dtype, target.ranks, target.dtype);
  Pair pair(transport, source, target, {}, from_device, into_device);

  for (const std::int64_t tokens : {1, 40, 1000}) {
    const RequestKey key = Key(static_cast<std::uint64_t>(tokens));
    const Pair::Transfer transfer = pair.Begin(key, tokens, 2);
    pair.prefill.ProduceTokens(key, tokens);
    pair.RequireArrived(key, transfer);
  }
  CHECK((pair.prefill.Hidden().Gathers() > 0) == from_device);
  CHECK((pair.decode.Hidden().Scatters() > 0) == into_device);
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
}

TEST_CASE("a receiver with KV in a device's memory that asks for int8 gets it") {
  Pair pair(
      "ucx", Layout(1, 16, "bf16"), Layout(1, 16, "bf16"),
      [](HandoffOptions& options) { options.wire_int8 = true; }, true, true);
  const Pair::Transfer transfer = pair.Begin(Key(1), 600, 2);

  pair.prefill.ProduceTokens(Key(1), 600);

  pair.RequireArrived(Key(1), transfer, 1.0F);
}

TEST_CASE("an answer that grows while it is sent goes from device to device, and the block in hand stays") {
  const std::string transport = GENERATE("loopback", "ucx");
  Pair pair(transport, Layout(1, 16, "f32"), Layout(1, 16, "f32"), {}, true, true);

  const Pair::Transfer transfer = pair.SendGrowing(Key(1));
  pair.RequireArrived(Key(1), transfer);
}

TEST_CASE("device memory's slots are bounded, and come back from prompts that are cancelled") {
  Pair pair(
      "ucx", Layout(1, 16, "bf16"), Layout(1, 16, "bf16"),
      [](HandoffOptions& options) { options.staging_bytes = 4U << 20; }, true, true);
  // The sender's two slots and what lies beside them, the receiver's and the one to convert in.
  const std::size_t bytes = (2 + 4 + 2 + 1) * kMessageBytesMax;
  CHECK(pair.prefill.Hidden().HostBytes() == bytes);

  for (std::uint32_t round = 0; round < 10; ++round) {
    const RequestKey cancelled = Key(2 * round + 1);
    const RequestKey good = Key(2 * round + 2);
    const Pair::Transfer first = pair.Begin(cancelled, 1500, 0);
    const Pair::Transfer second = pair.Begin(good, 1500, 100);
    pair.prefill.ProduceTokens(cancelled, 1500);
    round % 2 == 0 ? pair.prefill.AbortSend(cancelled) : pair.decode.AbortReceive(cancelled);
    pair.prefill.ProduceTokens(good, 1500);

    pair.RequireArrived(good, second);
    REQUIRE(first.dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
    REQUIRE(first.receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  }
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
  CHECK(pair.prefill.Hidden().HostBytes() == bytes);
}

TEST_CASE("a device that fails a copy fails the transfer, on both sides, and leaves nothing") {
  const std::string transport = GENERATE("loopback", "ucx");
  const bool sender = GENERATE(true, false);
  CAPTURE(transport, sender);
  Pair pair(transport, Layout(1, 16, "f32"), Layout(1, 16, "f32"), {}, true, true);
  const Pair::Transfer transfer = pair.Begin(Key(1), 500, 0);
  (sender ? pair.prefill : pair.decode).Hidden().Break();

  pair.prefill.ProduceTokens(Key(1), 500);

  REQUIRE(transfer.receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  CHECK(transfer.receipt->Get().failed == TransferEnd::kFailed);
  REQUIRE(transfer.dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  CHECK(transfer.dispatch->Get().ended == TransferEnd::kFailed);
  const std::string why = sender ? transfer.dispatch->Get().why : transfer.receipt->Get().why;
  CHECK(why.find("the device is lost") != std::string::npos);
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
}

TEST_CASE("what finds no slot lands on the heap, and reaches its blocks all the same") {
  constexpr std::size_t kBlock =
      96U << 10;  // three blocks a message, and more than the slot between holds at once
  const auto memory = std::make_shared<HiddenMemory>(40 * kBlock);
  const auto landings = *DeviceLandings::Create(memory, 2 * kMessageBytesMax, kBlock);
  const auto first = landings->Take(100);
  auto second = landings->Take(kMessageBytesMax);
  REQUIRE((first && second && first != second));

  CHECK(landings->Take(1) == nullptr);
  CHECK(landings->Take(kMessageBytesMax + 1) == nullptr);
  second.reset();
  CHECK(landings->Take(1) != nullptr);

  Landing landing{.device = landings};
  landing.staged.resize(30 * kBlock);
  for (std::size_t i = 0; i < landing.staged.size(); ++i)
    landing.staged[i] = static_cast<std::byte>(i / 1000 + i % 251);
  landing.places = {landing.staged};
  landing.blocks = {{memory->Region().address + 3 * kBlock, 25 * kBlock},
                    {memory->Region().address + 33 * kBlock, 5 * kBlock}};
  REQUIRE(landing.Settle() == absl::OkStatus());
  const auto seen = memory->Seen();
  CHECK(std::equal(landing.staged.begin(), landing.staged.begin() + 25 * kBlock, seen.begin() + 3 * kBlock));
  CHECK(std::equal(landing.staged.begin() + 25 * kBlock, landing.staged.end(), seen.begin() + 33 * kBlock));
  CHECK(std::ranges::count(seen, std::byte{0}) >= static_cast<std::ptrdiff_t>(10 * kBlock));
}

}  // namespace
}  // namespace baton::kvtransfer
