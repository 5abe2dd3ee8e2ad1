#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "tests/kvtransfer/layout_pair.h"

/// Whole transfers between workers whose KV lies differently, over the transports that there are.
namespace baton::kvtransfer {
namespace {

using test::Key;
using test::Layout;
using test::Pair;
using test::Table;
using test::Worker;

TEST_CASE("a prompt's KV arrives whole between workers whose ranks, blocks and types differ") {
  const std::string transport = GENERATE("loopback", "ucx");
  const auto [source, target] = GENERATE(table<KvLayout, KvLayout>({
      {Layout(1, 16, "f32"), Layout(2, 16, "f32")},
      {Layout(2, 16, "bf16"), Layout(1, 16, "bf16")},
      {Layout(4, 16, "f32"), Layout(2, 16, "f32")},
      {Layout(2, 16, "f32"), Layout(2, 16, "f32")},  // nothing differs
      {Layout(8, 16, "f32"), Layout(1, 16, "f32")},  // of 4 heads
      {Layout(1, 16, "f32"), Layout(8, 16, "f32")},
      {Layout(1, 16, "f32"), Layout(1, 32, "f32")},
      {Layout(1, 32, "f32"), Layout(1, 16, "f32")},
      {Layout(1, 16, "bf16"), Layout(1, 16, "f32")},
      {Layout(1, 16, "f32"), Layout(1, 16, "f16")},
      {Layout(4, 16, "bf16"), Layout(2, 32, "f32")},
  }));
  CAPTURE(transport, source.ranks, source.block_tokens, source.dtype, target.ranks, target.block_tokens,
          target.dtype);
  Pair pair(transport, source, target);

  for (const std::int64_t tokens : {1, 40, 1000}) {
    const RequestKey key = Key(static_cast<std::uint64_t>(tokens));
    const Pair::Transfer transfer = pair.Begin(key, tokens, 2);
    pair.prefill.ProduceTokens(key, tokens);
    pair.RequireArrived(key, transfer);
  }
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
}

TEST_CASE("an answer that grows while it is sent arrives between blocks and ranks that differ") {
  const std::string transport = GENERATE("loopback", "ucx");
  Pair pair(transport, Layout(1, 16, "bf16"), Layout(2, 32, "bf16"));

  const Pair::Transfer transfer = pair.SendGrowing(Key(1));
  pair.RequireArrived(Key(1), transfer);
  CHECK(transfer.receipt->Get().committed->prompt_tokens == 196);
}

TEST_CASE("a receiver that asks for int8 gets it, from equal layouts and from others") {
  const std::string transport = GENERATE("loopback", "ucx");
  const KvLayout target = GENERATE(Layout(1, 16, "bf16"), Layout(2, 32, "bf16"));
  Pair pair(transport, Layout(1, 16, "bf16"), target,
            [](HandoffOptions& options) { options.wire_int8 = true; });

  const Pair::Transfer transfer = pair.Begin(Key(1), 600, 2);
  pair.prefill.ProduceTokens(Key(1), 600);

  pair.RequireArrived(Key(1), transfer, 1.0F);  // half a step of 127 / 127, and bf16's rounding
  const std::uint64_t plain = std::uint64_t{2} * 2 * 4 * 64 * 608 * 2;
  CHECK(transfer.dispatch->Get().stats.bytes < plain * 55 / 100);
}

TEST_CASE("many prompts share one slot, in turns, and all arrive") {
  Pair pair("ucx", Layout(2, 16, "bf16"), Layout(1, 32, "f32"),
            [](HandoffOptions& options) { options.staging_bytes = 1; });
  std::vector<Pair::Transfer> transfers;
  for (std::uint32_t i = 0; i < 6; ++i) transfers.push_back(pair.Begin(Key(i + 1), 500, 40 * i));

  for (std::uint32_t i = 0; i < 6; ++i) pair.prefill.ProduceTokens(Key(i + 1), 500);

  for (std::uint32_t i = 0; i < 6; ++i) pair.RequireArrived(Key(i + 1), transfers[i]);
}

TEST_CASE("prompts that are cancelled while their messages are made give their slots back") {
  Pair pair("ucx", Layout(2, 16, "bf16"), Layout(1, 32, "f32"),
            [](HandoffOptions& options) { options.staging_bytes = 4U << 20; });
  for (std::uint32_t round = 0; round < 10; ++round) {
    const RequestKey cancelled = Key(2 * round + 1);
    const RequestKey good = Key(2 * round + 2);
    const Pair::Transfer first = pair.Begin(cancelled, 1500, 0);
    const Pair::Transfer second = pair.Begin(good, 500, 100);
    pair.prefill.ProduceTokens(cancelled, 1500);
    round % 2 == 0 ? pair.prefill.AbortSend(cancelled) : pair.decode.AbortReceive(cancelled);
    pair.prefill.ProduceTokens(good, 500);

    pair.RequireArrived(good, second);
    REQUIRE(first.dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
    REQUIRE(first.receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  }
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
}

TEST_CASE("a flipped bit of a converted message fails the transfer: the checksum covers what travels") {
  const auto spoil = [](const HandoffOptions& options) {
    return CreateLoopbackTransport(options, [](const DataHeader& header, std::span<std::byte> placed) {
      if (header.sequence == 1) placed[placed.size() / 2] ^= std::byte{4};
    });
  };
  Worker prefill({.id = WorkerId(1), .layout = Layout(2, 16, "bf16")});
  Worker decode({.id = WorkerId(2), .layout = Layout(1, 16, "f32"), .make = spoil});
  REQUIRE(Introduce(prefill, decode));
  const auto receipt = decode.Receive(Key(1), prefill, test::Blocks(0, 64));
  const auto dispatch = prefill.Send(Key(1), decode, test::Blocks(0, 64));

  prefill.Produce(Key(1), 64);

  REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  CHECK(receipt->Get().failed == TransferEnd::kFailed);
  CHECK(receipt->Get().why.find("checksum differs") != std::string::npos);
  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  CHECK(dispatch->Get().ended == TransferEnd::kFailed);
}

}  // namespace
}  // namespace baton::kvtransfer
