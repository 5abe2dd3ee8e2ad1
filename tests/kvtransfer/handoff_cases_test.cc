#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>

#include "tests/kvtransfer/worker_end.h"

/// The hand-off whole: two workers in one process, over loopback and over UCX on TCP.
namespace baton::kvtransfer::test {
namespace {

struct Logs {
  ReceiveWatch receive = std::make_shared<Watched<ReceiveLog>>();
  SendWatch send = std::make_shared<Watched<SendLog>>();
  [[nodiscard]] bool Over() const {
    return receive->WaitFor([](const ReceiveLog& l) { return l.released > 0; }) &&
           send->WaitFor([](const SendLog& l) { return l.ended > 0; });
  }
  void CheckEndedOnce() const {
    const ReceiveLog received = receive->Get();
    CHECK(received.committed + received.failed == 1);
    CHECK(received.released == 1);
    CHECK(received.after_release == 0);
    CHECK(send->Get().ended == 1);
  }
};

void Fill(WorkerEnd& worker, const std::vector<BlockIndex>& blocks, std::uint64_t seed) {
  for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
    for (std::size_t i = 0; i < blocks.size(); ++i) FillKv(worker.Block(layer, blocks[i]), seed, layer, i);
  }
}

TEST_CASE("KV of random prompts arrives exactly in its blocks, and no other block changes") {
  const std::string kind = GENERATE("loopback", "ucx");
  const bool layer_wise = GENERATE(false, true);
  CAPTURE(kind, layer_wise);
  HandoffOptions options = OptionsOf(kind);
  options.layer_wise_bytes_min = layer_wise ? 16U << 10 : 1ULL << 40;
  Workers workers(options);
  workers.RequireReady();
  RandomStream chance(layer_wise ? 11 : 12);
  for (std::uint64_t round = 1; round <= 8; ++round) {
    const std::int64_t tokens = round == 1 ? 1 : chance.Between(1, 3000);
    CAPTURE(round, tokens);
    BlockTables source_tables(round);
    BlockTables target_tables(round + 100);
    const auto source = source_tables.Take(WorkerEnd::BlocksOf(tokens));
    const auto target = target_tables.Take(WorkerEnd::BlocksOf(tokens));
    Fill(*workers.sender, source, round);
    std::vector<std::byte> expected = workers.receiver->Memory();
    const Logs logs;
    const bool grant_first = chance.Between(0, 1) == 0;
    const auto receive = [&] {
      REQUIRE(workers.receiver->Receive(Key(round), *workers.sender, tokens, target, logs.receive).ok());
    };
    if (grant_first) receive();
    REQUIRE(workers.sender->Send(Key(round), *workers.receiver, tokens, source, logs.send).ok());
    workers.sender->Produce(Key(round), tokens, chance.Between(1, 600));
    if (!grant_first) receive();
    REQUIRE(logs.Over());
    logs.CheckEndedOnce();
    CHECK(logs.receive->Get().committed == 1);
    CHECK(logs.receive->Get().info.first_token == 7);
    CHECK(logs.receive->Get().info.prompt_tokens == tokens);
    const SendLog sent = logs.send->Get();
    CHECK(sent.granted == 1);
    CHECK(sent.end == TransferEnd::kAcked);
    CHECK(sent.stats.bytes == source.size() * WorkerEnd::kLayers * WorkerEnd::Layout().BlockBytes());
    for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
      for (std::size_t i = 0; i < target.size(); ++i) {
        const auto from = workers.sender->Block(layer, source[i]);
        const std::size_t offset = static_cast<std::size_t>(workers.receiver->Block(layer, target[i]).data() -
                                                            workers.receiver->Memory().data());
        std::memcpy(expected.data() + offset, from.data(), from.size());
      }
    }
    REQUIRE(expected == workers.receiver->Memory());
  }
  CHECK(workers.sender->Idle());
  CHECK(workers.receiver->Idle());
}

TEST_CASE("an abort on either side, at any phase, ends both sides once and frees everything") {
  const std::string kind = GENERATE("loopback", "ucx");
  const bool by_sender = GENERATE(true, false);
  const int phase =
      GENERATE(0, 1, 2, 3);  // before the other side began, granted, some data sent, after the commit
  CAPTURE(kind, by_sender, phase);
  HandoffOptions options = OptionsOf(kind);
  options.layer_wise_bytes_min = 16U << 10;
  Workers workers(options);
  workers.RequireReady();
  const std::int64_t tokens = 2000;
  const auto blocks = BlockTables(1).Take(WorkerEnd::BlocksOf(tokens));
  const Logs logs;
  const bool both = phase > 0;
  if (both || !by_sender) {
    REQUIRE(workers.receiver->Receive(Key(1), *workers.sender, tokens, blocks, logs.receive).ok());
  }
  if (both || by_sender)
    REQUIRE(workers.sender->Send(Key(1), *workers.receiver, tokens, blocks, logs.send).ok());
  if (both) REQUIRE(logs.send->WaitFor([](const SendLog& l) { return l.granted == 1; }));
  if (phase == 2) workers.sender->Produce(Key(1), tokens, 200, /*commit=*/false);
  if (phase == 3) {
    workers.sender->Produce(Key(1), tokens, 200);
    REQUIRE(logs.receive->WaitFor([](const ReceiveLog& l) { return l.committed == 1; }));
  }
  if (by_sender) workers.sender->AbortSend(Key(1));
  if (!by_sender) workers.receiver->AbortReceive(Key(1));
  if (both) {
    REQUIRE(logs.Over());
    logs.CheckEndedOnce();
    CHECK(logs.receive->Get().committed == (phase == 3 ? 1 : 0));
    if (phase < 3) {
      CHECK(logs.receive->Get().end == TransferEnd::kAborted);
      CHECK(logs.send->Get().end == TransferEnd::kAborted);
    }
  } else if (by_sender) {
    REQUIRE(logs.send->WaitFor([](const SendLog& l) { return l.ended == 1; }));
    // What comes late is refused, and the refusal ends it.
    const ReceiveWatch late = std::make_shared<Watched<ReceiveLog>>();
    REQUIRE(workers.receiver->Receive(Key(1), *workers.sender, tokens, blocks, late).ok());
    REQUIRE(late->WaitFor([](const ReceiveLog& l) { return l.failed == 1 && l.released == 1; },
                          std::chrono::seconds(2)));
  } else {
    REQUIRE(logs.receive->WaitFor([](const ReceiveLog& l) { return l.released == 1; }));
  }
  CHECK(workers.sender->Idle());
  CHECK(workers.receiver->Idle());
}

TEST_CASE("an old attempt, a used attempt, and a stale incarnation are refused") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  Workers workers(OptionsOf(kind));
  workers.RequireReady();
  const auto blocks = BlockTables(1).Take(4);
  const Logs logs;
  const Incarnation stale(1);
  CHECK_FALSE(workers.receiver->Receive(Key(5), *workers.sender, 64, blocks, logs.receive, {}, stale).ok());
  CHECK_FALSE(workers.sender->Send(Key(5), *workers.receiver, 64, blocks, logs.send, stale).ok());
  REQUIRE(workers.receiver->Receive(Key(5, 2), *workers.sender, 64, blocks, logs.receive).ok());
  REQUIRE(workers.sender->Send(Key(5, 2), *workers.receiver, 64, blocks, logs.send).ok());
  const Logs other;
  CHECK_FALSE(workers.receiver->Receive(Key(5, 1), *workers.sender, 64, blocks, other.receive).ok());
  CHECK_FALSE(workers.sender->Send(Key(5, 1), *workers.receiver, 64, blocks, other.send).ok());
  workers.sender->Produce(Key(5, 2), 64, 64);
  REQUIRE(logs.Over());
  CHECK(logs.receive->Get().committed == 1);
  CHECK_FALSE(workers.receiver->Receive(Key(5, 2), *workers.sender, 64, blocks, other.receive).ok());
  CHECK_FALSE(workers.sender->Send(Key(5, 2), *workers.receiver, 64, blocks, other.send).ok());
}

TEST_CASE("a grant whose prompt does not come ends with the lease, not later") {
  HandoffOptions options = OptionsOf("loopback");
  options.lease = std::chrono::milliseconds(700);
  Workers workers(options);
  workers.RequireReady();
  const Logs logs;
  REQUIRE(workers.receiver->Receive(Key(1), *workers.sender, 64, BlockTables(1).Take(4), logs.receive).ok());
  REQUIRE(
      logs.receive->WaitFor([](const ReceiveLog& l) { return l.released == 1; }, std::chrono::seconds(5)));
  CHECK(logs.receive->Get().failed == 1);
}

TEST_CASE("a peer that goes away in the middle fails its transfers, and its successor works") {
  const std::string kind = GENERATE("loopback", "ucx");
  const bool sender_dies = GENERATE(true, false);
  CAPTURE(kind, sender_dies);
  HandoffOptions options = OptionsOf(kind);
  options.layer_wise_bytes_min = 16U << 10;
  Workers workers(options);
  workers.RequireReady();
  const std::int64_t tokens = 3000;
  const auto blocks = BlockTables(1).Take(WorkerEnd::BlocksOf(tokens));
  const Logs logs;
  REQUIRE(workers.receiver->Receive(Key(1), *workers.sender, tokens, blocks, logs.receive).ok());
  REQUIRE(workers.sender->Send(Key(1), *workers.receiver, tokens, blocks, logs.send).ok());
  workers.sender->Produce(Key(1), tokens, 300, /*commit=*/false);
  (sender_dies ? workers.sender : workers.receiver).reset();
  if (sender_dies) {
    REQUIRE(
        logs.receive->WaitFor([](const ReceiveLog& l) { return l.released == 1; }, std::chrono::seconds(4)));
    CHECK(logs.receive->Get().end == TransferEnd::kFailed);
    CHECK(workers.receiver->Idle());
  } else {
    REQUIRE(logs.send->WaitFor([](const SendLog& l) { return l.ended == 1; }, std::chrono::seconds(4)));
    CHECK(logs.send->Get().end == TransferEnd::kFailed);
    CHECK(workers.sender->Idle());
  }
  REQUIRE((sender_dies ? workers.receiver : workers.sender)->WaitReady(false));
  auto& fresh = sender_dies ? workers.sender : workers.receiver;
  fresh =
      std::make_unique<WorkerEnd>(WorkerEnd::Setup{.options = options, .id = WorkerId(sender_dies ? 1 : 2)});
  workers.Introduce();
  workers.RequireReady();
  const Logs again;
  Fill(*workers.sender, blocks, 9);
  REQUIRE(workers.receiver->Receive(Key(2), *workers.sender, tokens, blocks, again.receive).ok());
  REQUIRE(workers.sender->Send(Key(2), *workers.receiver, tokens, blocks, again.send).ok());
  workers.sender->Produce(Key(2), tokens, 300);
  REQUIRE(again.Over());
  CHECK(again.receive->Get().committed == 1);
  for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
    for (const BlockIndex block : blocks) {
      CHECK(std::ranges::equal(workers.sender->Block(layer, block), workers.receiver->Block(layer, block)));
    }
  }
}

TEST_CASE("many transfers at once all arrive") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  HandoffOptions options = OptionsOf(kind);
  options.layer_wise_bytes_min = 32U << 10;
  Workers workers(options);
  workers.RequireReady();
  BlockTables source_tables(1);
  BlockTables target_tables(2);
  struct One {
    std::vector<BlockIndex> source, target;
    Logs logs;
    std::int64_t tokens = 0;
  };
  std::vector<One> all(48);
  RandomStream chance(5);
  for (std::size_t i = 0; i < all.size(); ++i) {
    One& one = all[i];
    one.tokens = chance.Between(1, 160);
    one.source = source_tables.Take(WorkerEnd::BlocksOf(one.tokens));
    one.target = target_tables.Take(WorkerEnd::BlocksOf(one.tokens));
    Fill(*workers.sender, one.source, i);
    REQUIRE(workers.sender->Send(Key(i + 1), *workers.receiver, one.tokens, one.source, one.logs.send).ok());
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    REQUIRE(workers.receiver
                ->Receive(Key(i + 1), *workers.sender, all[i].tokens, all[i].target, all[i].logs.receive)
                .ok());
    workers.sender->Produce(Key(i + 1), all[i].tokens, 64);
  }
  for (const One& one : all) {
    REQUIRE(one.logs.Over());
    one.logs.CheckEndedOnce();
    CHECK(one.logs.receive->Get().committed == 1);
    for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
      for (std::size_t b = 0; b < one.source.size(); ++b) {
        CHECK(std::ranges::equal(workers.sender->Block(layer, one.source[b]),
                                 workers.receiver->Block(layer, one.target[b])));
      }
    }
  }
}

TEST_CASE("blocks of aborted transfers are never written again once they are released") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  HandoffOptions options = OptionsOf(kind);
  options.layer_wise_bytes_min = 16U << 10;
  Workers workers(options);
  workers.RequireReady();
  const std::int64_t tokens = 4096;
  std::vector<BlockIndex> blocks;
  for (std::uint32_t i = 0; i < 256; ++i) blocks.emplace_back(i);
  Fill(*workers.sender, blocks, 3);
  RandomStream chance(77);
  for (std::uint64_t round = 1; round <= 40; ++round) {
    CAPTURE(round);
    const Logs logs;
    // The moment that the blocks are released they belong to somebody else, who writes a pattern.
    const auto reuse = [&workers, &blocks] {
      for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
        for (const BlockIndex block : blocks)
          std::ranges::fill(workers.receiver->Block(layer, block), std::byte{0x5a});
      }
    };
    REQUIRE(workers.receiver->Receive(Key(round), *workers.sender, tokens, blocks, logs.receive, reuse).ok());
    REQUIRE(workers.sender->Send(Key(round), *workers.receiver, tokens, blocks, logs.send).ok());
    workers.sender->Produce(Key(round), tokens, chance.Between(64, 2048), chance.Between(0, 1) == 0);
    if (chance.Between(0, 1) == 0) workers.sender->AbortSend(Key(round));
    workers.receiver->AbortReceive(Key(round));
    REQUIRE(logs.Over());
    logs.CheckEndedOnce();
    REQUIRE(workers.sender->Idle());
    for (int layer = 0; layer < WorkerEnd::kLayers; ++layer) {
      for (const BlockIndex block : blocks) {
        REQUIRE(std::ranges::all_of(workers.receiver->Block(layer, block),
                                    [](std::byte b) { return b == std::byte{0x5a}; }));
      }
    }
  }
}

TEST_CASE("a peer with another cluster key never becomes ready") {
  HandoffOptions options = OptionsOf("loopback");
  WorkerEnd sender({.options = options, .id = WorkerId(1)});
  options.cluster_key = "another key";
  WorkerEnd receiver({.options = options, .id = WorkerId(2)});
  receiver.LearnPort();
  receiver.Meet(sender, /*dial=*/false);
  sender.Meet(receiver, /*dial=*/true);
  Watched<bool> never;  // several dials fit into this
  CHECK_FALSE(never.WaitFor([](bool value) { return value; }, std::chrono::milliseconds(800)));
  const Logs logs;
  CHECK_FALSE(sender.Send(Key(1), receiver, 16, {BlockIndex(0)}, logs.send).ok());
  CHECK_FALSE(receiver.Receive(Key(1), sender, 16, {BlockIndex(0)}, logs.receive).ok());
}

TEST_CASE("a worker whose loop stands still is lost by its missed pings within two seconds") {
  const std::string kind = GENERATE("loopback", "ucx");
  CAPTURE(kind);
  Workers workers(OptionsOf(kind));
  workers.RequireReady();
  const auto blocks = BlockTables(1).Take(4);
  const Logs logs;
  REQUIRE(workers.receiver->Receive(Key(1), *workers.sender, 64, blocks, logs.receive).ok());
  REQUIRE(workers.sender->Send(Key(1), *workers.receiver, 64, blocks, logs.send).ok());
  REQUIRE(logs.send->WaitFor([](const SendLog& l) { return l.granted == 1; }));
  workers.sender->OnLoop([&] {
    // The receiver must end it while the sender's loop is held here.
    CHECK(
        logs.receive->WaitFor([](const ReceiveLog& l) { return l.released == 1; }, std::chrono::seconds(4)));
  });
  CHECK(logs.receive->Get().end == TransferEnd::kFailed);
  REQUIRE(logs.send->WaitFor([](const SendLog& l) { return l.ended == 1; }));
  logs.CheckEndedOnce();
}

}  // namespace
}  // namespace baton::kvtransfer::test
