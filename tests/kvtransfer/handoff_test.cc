#include <catch2/catch.hpp>

#include <numeric>
#include <random>

#include "kvtransfer/peer_messages.h"
#include "tests/kvtransfer/worker.h"

namespace baton::kvtransfer {
namespace {

using test::Blocks;
using test::Key;
using test::Worker;

/// A prefill and a decode worker, introduced.
struct Pair {
  explicit Pair(const std::string& transport, std::function<void(HandoffOptions&)> adjust = {})
      : prefill({.id = WorkerId(1), .transport = transport, .adjust = adjust}),
        decode({.id = WorkerId(2), .transport = transport, .adjust = adjust}) {
    REQUIRE(test::Introduce(prefill, decode));
  }
  Worker prefill, decode;
};

void CheckCommitted(Pair& pair, const Worker::Receipt& receipt, const Worker::Dispatch& dispatch) {
  REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  CHECK(receipt->Get().committed.has_value());
  CHECK(receipt->Get().reports == 1);
  CHECK(dispatch->Get().ended == TransferEnd::kAcked);
  CHECK(dispatch->Get().reports == 1);
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
}

std::vector<BlockIndex> Shuffled(std::vector<BlockIndex> blocks, unsigned seed) {
  std::mt19937 random(seed);
  std::shuffle(blocks.begin(), blocks.end(), random);
  return blocks;
}

TEST_CASE("KV of a prompt arrives, block for block, between tables of any order") {
  const std::string transport = GENERATE("loopback", "ucx");
  const bool scattered = GENERATE(false, true);
  CAPTURE(transport, scattered);
  Pair pair(transport);
  const auto source = scattered ? Shuffled(Blocks(0, 100), 1) : Blocks(20, 100);
  const auto target = scattered ? Shuffled(Blocks(100, 100), 2) : Blocks(3, 100);
  pair.prefill.Fill(source, 9);

  const auto receipt = pair.decode.Receive(Key(1), pair.prefill, target);
  const auto dispatch = pair.prefill.Send(Key(1), pair.decode, source);
  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.granted; }));
  pair.prefill.Produce(Key(1), source.size(), 1234);

  CheckCommitted(pair, receipt, dispatch);
  CHECK(receipt->Get().committed->first_token == 1234);
  CHECK(receipt->Get().committed->prompt_tokens == 1600);
  CHECK(pair.decode.Holds(target, 9));
  CHECK(dispatch->Get().stats.bytes == 2 * 100 * test::TestLayout().BlockBytes());
  CHECK(dispatch->Get().stats.layer_wise);
}

TEST_CASE("grant, send and commit may come in any order") {
  const std::string transport = GENERATE("loopback", "ucx");
  CAPTURE(transport);
  Pair pair(transport);
  pair.prefill.Fill(Blocks(0, 4), 5);

  const auto dispatch = pair.prefill.Send(Key(1), pair.decode, Blocks(0, 4));
  pair.prefill.Produce(Key(1), 4);
  const auto receipt = pair.decode.Receive(Key(1), pair.prefill, Blocks(8, 4));

  CheckCommitted(pair, receipt, dispatch);
  CHECK(pair.decode.Holds(Blocks(8, 4), 5));
  CHECK_FALSE(dispatch->Get().stats.layer_wise);
}

TEST_CASE("row 26: KV with a flipped bit is never committed: both sides fail") {
  Worker prefill({.id = WorkerId(1)});
  Worker decode({.id = WorkerId(2), .make = [](const HandoffOptions& options) {
                   return CreateLoopbackTransport(options,
                                                  [](const DataHeader& header, std::span<std::byte> placed) {
                                                    if (header.sequence == 1)
                                                      placed[placed.size() / 2] ^= std::byte{0x10};
                                                  });
                 }});
  REQUIRE(test::Introduce(prefill, decode));

  const auto receipt = decode.Receive(Key(1), prefill, Blocks(0, 100));
  const auto dispatch = prefill.Send(Key(1), decode, Blocks(0, 100));
  prefill.Produce(Key(1), 100);

  REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  CHECK_FALSE(receipt->Get().committed.has_value());
  CHECK(receipt->Get().failed == TransferEnd::kFailed);
  CHECK(receipt->Get().why.find("checksum differs") != std::string::npos);
  CHECK(dispatch->Get().ended == TransferEnd::kFailed);
  CHECK(decode.Metrics().find("baton_kvtransfer_checksum_failures_total 1") != std::string::npos);
}

TEST_CASE("an attempt that was aborted or overtaken is refused, the next one is not") {
  Pair pair("loopback");
  const auto receipt = std::make_shared<test::Watched<Worker::Receiving>>();
  const auto receive = [&](RequestKey key) {
    return pair.decode.Receive({.key = key,
                                .sender = WorkerId(1),
                                .sender_incarnation = pair.prefill.Setup().incarnation,
                                .prompt_tokens = 16,
                                .blocks = Blocks(0, 1)},
                               receipt);
  };
  pair.decode.AbortReceive(Key(1, 2));

  CHECK(receive(Key(1, 1)).code() == kAborted);
  CHECK(receive(Key(1, 2)).code() == kAborted);
  CHECK(receive(Key(1, 3)).ok());
  CHECK(receive(Key(1, 3)).code() == kAborted);
}

TEST_CASE("a transfer with another incarnation, an unknown peer or a wrong block table is refused") {
  Pair pair("loopback");
  const auto receipt = std::make_shared<test::Watched<Worker::Receiving>>();
  const ReceiveRequest good{.key = Key(1),
                            .sender = WorkerId(1),
                            .sender_incarnation = pair.prefill.Setup().incarnation,
                            .prompt_tokens = 20,
                            .blocks = Blocks(0, 2)};
  ReceiveRequest stale = good;
  stale.sender_incarnation = Incarnation(1);
  ReceiveRequest unknown = good;
  unknown.sender = WorkerId(9);
  ReceiveRequest short_table = good;
  short_table.blocks.pop_back();
  ReceiveRequest outside = good;
  outside.blocks[1] = BlockIndex(256);

  CHECK_FALSE(pair.decode.Receive(stale, receipt).ok());
  CHECK_FALSE(pair.decode.Receive(unknown, receipt).ok());
  CHECK_FALSE(pair.decode.Receive(short_table, receipt).ok());
  CHECK_FALSE(pair.decode.Receive(outside, receipt).ok());
  CHECK(pair.decode.Live() == 0);
}

TEST_CASE("an abort on either side ends both, and the peer is told") {
  const std::string transport = GENERATE("loopback", "ucx");
  const bool by_receiver = GENERATE(false, true);
  CAPTURE(transport, by_receiver);
  Pair pair(transport);
  const auto receipt = pair.decode.Receive(Key(1), pair.prefill, Blocks(0, 50));
  const auto dispatch = pair.prefill.Send(Key(1), pair.decode, Blocks(0, 50));
  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.granted; }));

  by_receiver ? pair.decode.AbortReceive(Key(1)) : pair.prefill.AbortSend(Key(1));

  REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  CHECK(receipt->Get().failed == TransferEnd::kAborted);
  CHECK(dispatch->Get().ended == TransferEnd::kAborted);
  CHECK(receipt->Get().reports == 1);
}

TEST_CASE("a grant whose prompt was aborted before it came is refused at once") {
  Pair pair("loopback");
  pair.prefill.AbortSend(Key(1));

  const auto receipt = pair.decode.Receive(Key(1), pair.prefill, Blocks(0, 2));

  REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }, std::chrono::seconds(5)));
  CHECK(receipt->Get().failed == TransferEnd::kAborted);
}

TEST_CASE("in a storm of aborts no committed block is wrong and no released block is written again") {
  const std::string transport = GENERATE("loopback", "ucx");
  CAPTURE(transport);
  constexpr std::uint32_t kBlocksEach = 24;
  constexpr std::uint32_t kSlots = 8;
  Pair pair(transport);
  std::mt19937 random(7);
  int committed = 0;
  for (std::uint64_t round = 0; round < 12; ++round) {
    std::vector<std::pair<Worker::Receipt, Worker::Dispatch>> transfers;
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      const RequestKey key = Key(1 + round * kSlots + slot);
      const auto blocks = Blocks(slot * kBlocksEach, kBlocksEach);
      REQUIRE((round == 0 || pair.decode.Holds(blocks, 777)));
      pair.prefill.Fill(blocks, static_cast<unsigned>(key.request.value));
      transfers.emplace_back(pair.decode.Receive(key, pair.prefill, blocks),
                             pair.prefill.Send(key, pair.decode, blocks));
    }
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      const RequestKey key = Key(1 + round * kSlots + slot);
      // Whether an abort among those that follow comes in time is chance; the last slot's always does, and
      // nobody aborts the first.
      if (slot == kSlots - 1) pair.decode.AbortReceive(key);
      pair.prefill.Produce(key, kBlocksEach);
      if (slot == 0) continue;
      if (random() % 3 == 0) pair.decode.AbortReceive(Key(1 + round * kSlots + 1 + random() % slot));
      if (random() % 3 == 0) pair.prefill.AbortSend(Key(1 + round * kSlots + 1 + random() % slot));
    }
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      const auto& [receipt, dispatch] = transfers[slot];
      REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }));
      REQUIRE(dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
      CHECK(receipt->Get().reports == 1);
      const auto blocks = Blocks(slot * kBlocksEach, kBlocksEach);
      if (receipt->Get().committed) {
        ++committed;
        REQUIRE(pair.decode.Holds(blocks, static_cast<unsigned>(1 + round * kSlots + slot)));
      }
      pair.decode.Fill(blocks, 777);  // somebody else's now
    }
  }
  CHECK(committed >= 12);
  CHECK(committed <= 12 * static_cast<int>(kSlots - 1));
  CHECK(pair.prefill.Live() == 0);
  CHECK(pair.decode.Live() == 0);
}

TEST_CASE("when a peer leaves, its transfers fail on the other side and are released") {
  const std::string transport = GENERATE("loopback", "ucx");
  CAPTURE(transport);
  Worker decode({.id = WorkerId(2), .transport = transport});
  auto prefill = std::make_unique<Worker>(test::WorkerSetup{.id = WorkerId(1), .transport = transport});
  REQUIRE(test::Introduce(*prefill, decode));
  const auto receipt = decode.Receive(Key(1), *prefill, Blocks(0, 50));
  const auto dispatch = prefill->Send(Key(1), decode, Blocks(0, 50));
  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.granted; }));

  prefill.reset();

  REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  CHECK(receipt->Get().failed == TransferEnd::kFailed);
  CHECK(decode.WaitReady(WorkerId(1), false));
  CHECK(decode.Live() == 0);
}

TEST_CASE("a worker that comes back with a new incarnation is connected anew, and serves") {
  const std::string transport = GENERATE("loopback", "ucx");
  CAPTURE(transport);
  Worker decode({.id = WorkerId(2), .transport = transport});
  auto prefill = std::make_unique<Worker>(test::WorkerSetup{.id = WorkerId(1), .transport = transport});
  REQUIRE(test::Introduce(*prefill, decode));
  prefill = std::make_unique<Worker>(test::WorkerSetup{.id = WorkerId(1), .transport = transport});
  REQUIRE(decode.WaitReady(WorkerId(1), false));

  REQUIRE(test::Introduce(*prefill, decode));

  prefill->Fill(Blocks(0, 30), 3);
  const auto receipt = decode.Receive(Key(5), *prefill, Blocks(0, 30));
  const auto dispatch = prefill->Send(Key(5), decode, Blocks(0, 30));
  prefill->Produce(Key(5), 30);
  REQUIRE(receipt->WaitFor([](const auto& r) { return r.committed.has_value(); }));
  CHECK(decode.Holds(Blocks(0, 30), 3));
}

TEST_CASE(
    "a peer with another cluster key or KV of another model never becomes ready, a right one beside it "
    "does") {
  Worker listener({.id = WorkerId(1)});
  Worker stranger({.id = WorkerId(2), .cluster_key = "another key"});
  KvLayout wider = test::TestLayout();
  wider.head_dim = 128;
  Worker mismatch({.id = WorkerId(3), .layout = wider});
  Worker friendly({.id = WorkerId(4)});
  listener.SetPeers({stranger.Info(false), mismatch.Info(false), friendly.Info(false)});

  for (Worker* worker : {&stranger, &mismatch, &friendly}) worker->SetPeers({listener.Info(true)});

  REQUIRE(friendly.WaitReady(WorkerId(1)));
  REQUIRE(mismatch.WaitReady(WorkerId(1), false));  // it was told so
  CHECK_FALSE(listener.IsReady(WorkerId(2)));
  CHECK_FALSE(listener.IsReady(WorkerId(3)));
}

TEST_CASE("row 28: a peer of another cluster, or with another checksum setting, never becomes ready") {
  const auto of = [](const char* cluster, bool checksum) {
    return [cluster, checksum](HandoffOptions& options) {
      options.cluster_id = cluster;
      options.checksum = checksum;
    };
  };
  Worker listener({.id = WorkerId(1), .adjust = of("north", true)});
  Worker stranger({.id = WorkerId(2), .adjust = of("south", true)});
  Worker careless({.id = WorkerId(3), .adjust = of("north", false)});
  Worker friendly({.id = WorkerId(4), .adjust = of("north", true)});
  listener.SetPeers({stranger.Info(false), careless.Info(false), friendly.Info(false)});

  for (Worker* worker : {&stranger, &careless, &friendly}) worker->SetPeers({listener.Info(true)});

  REQUIRE(friendly.WaitReady(WorkerId(1)));
  REQUIRE(stranger.WaitReady(WorkerId(1), false));
  REQUIRE(careless.WaitReady(WorkerId(1), false));
  CHECK_FALSE(listener.IsReady(WorkerId(2)));
  CHECK_FALSE(listener.IsReady(WorkerId(3)));
}

TEST_CASE("what differs between two clusters is said by name") {
  CHECK(CheckSame(Terms{"north", true}, Terms{"north", true}).ok());
  CHECK(Message(CheckSame(Terms{"north", true}, Terms{"south", true})) ==
        "a worker of cluster 'south', this one is of 'north'; see transfer.cluster_id");
  CHECK(Message(CheckSame(Terms{"north", true}, Terms{"north", false})) ==
        "checksums are on here, off there; set transfer.checksum alike");
}

TEST_CASE("silence of the producer beyond the deadline expires both sides") {
  Pair pair("loopback",
            [](HandoffOptions& options) { options.transfer_deadline = std::chrono::milliseconds(200); });
  const auto receipt = pair.decode.Receive(Key(1), pair.prefill, Blocks(0, 4));
  const auto dispatch = pair.prefill.Send(Key(1), pair.decode, Blocks(0, 4));

  // Started, and never finished.
  pair.prefill.Start(Key(1));

  REQUIRE(dispatch->WaitFor([](const auto& s) { return s.ended.has_value(); }));
  REQUIRE(receipt->WaitFor([](const auto& r) { return r.released == 1; }));
  CHECK(dispatch->Get().ended == TransferEnd::kExpired);
  CHECK(receipt->Get().failed == TransferEnd::kFailed);
}

TEST_CASE("a transport that is not there stops the start with an error that says why") {
  net::EventLoop loop;
  metrics::Registry metrics;
  HandoffOptions options;
  options.transport = GENERATE("carrier pigeon", "ucx");
  options.net_device = "no-such-interface";
  std::vector<std::byte> memory(2 * test::TestLayout().BlockBytes());

  const auto made = Handoff::Create(loop, options,
                                    {.region = {.address = memory.data(), .bytes = memory.size()},
                                     .blocks = 1,
                                     .layout = test::TestLayout()},
                                    NewIncarnation(), metrics, {});

  REQUIRE_FALSE(made.ok());
  const std::string message = Message(made.status());
  CHECK((message.find("carrier pigeon") != std::string::npos ||
         message.find("no-such-interface") != std::string::npos));
}

}  // namespace
}  // namespace baton::kvtransfer
