#include <catch2/catch.hpp>

#include "tests/decode/decode_rig.h"

/// KV of an answer that has ended, held here until a prefill worker has taken it.
namespace baton::decode {
namespace {

constexpr std::int64_t kRoom = 16;  // blocks
constexpr std::int64_t kPrompt = 40;
constexpr std::int64_t kAnswer = 30;  // 69 positions, four full blocks
const RequestKey kHere = Key(1, 1);
const RequestKey kBack = Key(1, 2);

wire::Envelope Reserve(RequestKey key, std::uint32_t keep_ms = 10'000, std::int64_t max_tokens = kAnswer,
                       std::int64_t prompt_tokens = kPrompt) {
  wire::Envelope order = Order(key, prompt_tokens, max_tokens);
  order.mutable_reserve()->set_keep_ms(keep_ms);
  return order;
}

wire::Envelope GiveBack(std::int64_t first, std::int64_t positions) {
  wire::Envelope envelope;
  wire::GiveBack& order = *envelope.mutable_give_back();
  order.set_request(kHere.request.value);
  order.set_attempt(kHere.attempt.value);
  order.set_new_attempt(kBack.attempt.value);
  order.set_worker(3);
  order.set_incarnation(33);
  order.set_first(first);
  order.set_positions(positions);
  return envelope;
}

struct KeptRig : DecodeRig {
  KeptRig() : DecodeRig(8, kRoom, {.block_bytes = 256}) {}

  /// The answer is written to its end, and its blocks are held.
  void Write(std::uint32_t keep_ms = 10'000) {
    ServiceRig::Order(Reserve(kHere, keep_ms));
    Commit(kHere, kPrompt);
    REQUIRE(WaitForTokens(kHere, kAnswer));
  }
  /// Everything that has come from the engine so far has been worked on, and what follows from it.
  void Settle() {
    for (int i = 0; i < 3; ++i) OnLoop([] {});
  }
};

TEST_CASE("an ended answer's full blocks are held, sent from where the other side's end, and freed") {
  KeptRig rig;
  rig.Write();
  rig.Order(GiveBack(32, 64));
  REQUIRE(rig.handoff.WaitFor("commit 1/2"));

  kvtransfer::SendRequest sent;
  rig.OnLoop([&] { sent = rig.handoff.sends.at(kBack).first; });
  CHECK(sent.receiver == WorkerId(3));
  CHECK(sent.receiver_incarnation == Incarnation(33));
  CHECK(sent.prompt_tokens == 32);
  CHECK(sent.blocks.size() == 2);
  CHECK(rig.handoff.Count("ready 0+32 more 0 1/2") == 1);
  CHECK_FALSE(rig.IsReleased(kHere));
  CHECK(rig.Blocks().used >= 4);
  rig.Order(GiveBack(32, 64));  // repeated
  CHECK(rig.handoff.Count("send 1/2") == 1);
  const TransferEnd end = GENERATE(TransferEnd::kAcked, TransferEnd::kFailed, TransferEnd::kExpired);
  rig.OnLoop([&] { rig.handoff.EndSend(kBack, end); });

  CHECK(rig.Released(kHere).outcome() == "done");
  CHECK(rig.Blocks().free == kRoom);
}

TEST_CASE("what nobody asks for is freed when its time is over, and at once where it is cancelled") {
  KeptRig rig;
  SECTION("by time") {
    rig.Write(1);
  }
  SECTION("by the router") {
    rig.Write();
    rig.Cancel(kHere);
  }
  SECTION("by the loss of the router") {
    rig.Write();
    rig.OnLoop([&] { rig.service->CancelAll(); });
  }
  SECTION("it was not to be kept") {
    rig.Write(0);
  }

  CHECK(rig.Released(kHere).outcome() == "done");
  CHECK(rig.Blocks().free == kRoom);
  rig.Order(GiveBack(32, 64));
  CHECK(rig.handoff.WaitFor("abort_send 1/2"));  // so that a grant is refused
  CHECK(rig.handoff.Count("send 1/2") == 0);
}

TEST_CASE("a cancel amid the sending frees the blocks when they are read no more") {
  KeptRig rig;
  rig.Write();
  rig.Order(GiveBack(0, 64));
  rig.Cancel(kHere);
  REQUIRE(rig.handoff.WaitFor("abort_send 1/2"));

  rig.Settle();
  CHECK_FALSE(rig.IsReleased(kHere));
  CHECK(rig.Blocks().used >= 4);
  rig.OnLoop([&] { rig.handoff.EndSend(kBack, TransferEnd::kAborted); });
  CHECK(rig.Released(kHere).outcome() == "done");
  CHECK(rig.Blocks().free == kRoom);
}

TEST_CASE("positions that are not here are refused, and the answer stays for who asks better") {
  KeptRig rig;
  rig.Write();
  const auto [first, positions] =
      GENERATE(std::pair{0, 80}, std::pair{64, 64}, std::pair{-16, 64}, std::pair{8, 64}, std::pair{48, 32});
  CAPTURE(first, positions);
  rig.Order(GiveBack(first, positions));

  CHECK(rig.handoff.Count("abort_send 1/2") == 1);
  CHECK(rig.handoff.Count("send 1/2") == 0);
  CHECK_FALSE(rig.IsReleased(kHere));
  rig.Cancel(kHere);
  CHECK(rig.Released(kHere).outcome() == "done");
}

TEST_CASE("a prompt that waits for memory gets what was kept") {
  KeptRig rig;
  rig.Write();
  const bool sends = GENERATE(true, false);
  CAPTURE(sends);
  if (sends) rig.Order(GiveBack(0, 64));
  rig.Order(Reserve(Key(2), 0, 16, 13 * 16));

  if (sends) {
    REQUIRE(rig.handoff.WaitFor("abort_send 1/2"));
    CHECK(rig.handoff.Count("receive 2/1") == 0);
    rig.OnLoop([&] { rig.handoff.EndSend(kBack, TransferEnd::kAborted); });
  }
  rig.Commit(Key(2), 13 * 16);
  CHECK(rig.Released(kHere).outcome() == "done");
  CHECK(rig.Released(Key(2)).outcome() == "done");
  CHECK(rig.Blocks().free == kRoom);
}

}  // namespace
}  // namespace baton::decode
