#include <catch2/catch.hpp>

#include <deque>

#include "common/base/error.h"
#include "common/metrics/registry.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_messages.h"
#include "kvtransfer/receive_side.h"
#include "kvtransfer/send_side.h"
#include "tests/kvtransfer/worker.h"

/// Each side by itself, with a host and a transport that only write down what they are told.
namespace baton::kvtransfer {
namespace {

using test::Blocks;
using test::Key;

constexpr WorkerId kPeer(2);
constexpr Incarnation kOwn(10);
constexpr Incarnation kTheirs(20);

class NotingHost final : public SideHost {
 public:
  TimePoint Now() const override { return clock.Now(); }
  void Post(std::function<void()> work) override { posted.push_back(std::move(work)); }
  TransferId NewTransfer() override { return {.high = 7, .low = ++last}; }
  absl::Status Send(WorkerId, const peer::Envelope& message) override {
    sent.push_back(message);
    return absl::OkStatus();
  }
  absl::StatusOr<PeerHandle> Ready(WorkerId, Incarnation) const override { return link; }
  absl::StatusOr<KvLayout> LayoutOf(WorkerId) const override { return peer_layout; }
  std::shared_ptr<Stager> MakeStager(std::size_t slots, std::size_t slot_bytes) override {
    return CreateHostStager(slots, slot_bytes, /*own_thread=*/false);
  }
  void ResetLater(WorkerId, const absl::Status&) override { ++resets; }
  void Measured(WorkerId, double) override {}
  void RunPosted() {
    for (; !posted.empty(); posted.pop_front()) posted.front()();
  }

  ManualClock clock;
  std::deque<std::function<void()>> posted;
  std::vector<peer::Envelope> sent;
  std::uint64_t last = 0;
  int resets = 0;
  PeerHandle link{1};
  KvLayout peer_layout = test::TestLayout();
};

class NotingTransport final : public Transport {
 public:
  absl::Status Start(const ArenaView&, TransportEvents&) override { return absl::OkStatus(); }
  std::string Name() const override { return "noting"; }
  std::string LocalAddress() const override { return "here"; }
  absl::StatusOr<PeerHandle> ConnectPeer(const std::string&) override { return PeerHandle(1); }
  void ClosePeer(PeerHandle) override {}
  void OpenWindow(ReceiveWindow window) override { opened.push_back(window.transfer); }
  void CloseWindow(TransferId transfer) override { closed.push_back(transfer); }
  SendHandle Send(PeerHandle, DataMessage message) override {
    sent.push_back(std::move(message));
    return SendHandle(sent.size());
  }
  void CancelSends(PeerHandle, TransferId) override {}
  SendHandle SendCanary(PeerHandle, std::uint64_t) override { return {}; }
  TransportCounters Counters() const override { return {}; }

  std::vector<TransferId> opened, closed;
  std::vector<DataMessage> sent;
};

struct Fixture {
  Fixture() {
    options.credit_bytes = 8U << 20;
    options.credit_bytes_least = 1U << 20;
  }
  static constexpr std::uint32_t kBlocks = 512;  // 32 KiB a block and layer, 2 layers: 32 MiB
  std::vector<std::byte> memory = std::vector<std::byte>(2 * kBlocks * test::TestLayout().BlockBytes());
  ArenaView arena{.region = {.address = memory.data(), .bytes = memory.size()},
                  .blocks = kBlocks,
                  .layout = test::TestLayout()};
  HandoffOptions options;
  metrics::Registry registry;
  Probe probe{registry};
  NotingHost host;
  NotingTransport transport;
};

struct Receiving : Fixture {
  ReceiveSide side{host, options, arena, kOwn, transport, probe};
  std::optional<CommitInfo> committed;
  std::string failed;
  bool released = false;

  TransferId Receive(std::uint32_t blocks) {
    REQUIRE(
        side.Receive({.key = Key(1),
                      .sender = kPeer,
                      .sender_incarnation = kTheirs,
                      .prompt_tokens = blocks * 16,
                      .blocks = Blocks(0, blocks)},
                     {.on_committed = [this](const CommitInfo& info) { committed = info; },
                      .on_failed = [this](TransferEnd, const absl::Status& why) { failed = Message(why); },
                      .on_released = [this] { released = true; }}) == absl::OkStatus());
    return transport.opened.back();
  }
  void Place(TransferId transfer, std::uint16_t layer, std::uint32_t first, std::uint32_t count) {
    side.OnPlaced({.transfer = transfer,
                   .sequence = 0,
                   .bytes = count * arena.layout.BlockBytes(),
                   .runs = {{.layer = layer, .blocks = {.first = BlockIndex(first), .count = count}}},
                   .status = {}});
  }
  static peer::Commit CommitOf(TransferId transfer, std::uint32_t blocks, std::uint64_t bytes,
                               std::uint64_t messages) {
    peer::Commit commit;
    ToWire(transfer, *commit.mutable_transfer());
    commit.set_prompt_tokens(blocks * 16);
    commit.set_bytes(bytes);
    commit.set_messages(messages);
    return commit;
  }
};

TEST_CASE("a COMMIT commits when its tokens, bytes and messages are those that were granted and have come") {
  Receiving r;
  const TransferId transfer = r.Receive(4);
  r.Place(transfer, 0, 0, 4);
  r.Place(transfer, 1, 0, 4);

  r.side.OnCommit(kPeer, Receiving::CommitOf(transfer, 4, 8 * r.arena.layout.BlockBytes(), 2));
  r.host.RunPosted();

  CHECK(r.committed.has_value());
  CHECK(r.host.sent.back().has_ack());
}

TEST_CASE("a COMMIT with another total of bytes fails the transfer, and says both") {
  Receiving r;
  const TransferId transfer = r.Receive(4);
  r.Place(transfer, 0, 0, 4);
  r.Place(transfer, 1, 0, 4);

  r.side.OnCommit(kPeer, Receiving::CommitOf(transfer, 4, 8 * r.arena.layout.BlockBytes() - 1, 2));
  r.host.RunPosted();

  CHECK_FALSE(r.committed.has_value());
  CHECK(r.failed == "COMMIT of 64 prompt tokens and 262143 bytes, 64 and 262144 were granted");
  CHECK(r.host.sent.back().abort().failed());
  CHECK_FALSE(r.released);  // quarantined until the transport says that it is drained
  r.side.OnDrained(transfer);
  r.host.RunPosted();
  CHECK(r.released);
}

TEST_CASE("a grant carries the credit of its peer's window, and placed data earns more") {
  Receiving r;
  const TransferId transfer = r.Receive(Fixture::kBlocks);
  CHECK(r.host.sent.back().grant().credit_bytes() == 8U << 20);

  r.Place(transfer, 0, 0, 64);  // 2 MiB

  REQUIRE(r.host.sent.back().has_credit());
  CHECK(r.host.sent.back().credit().bytes() == 10U << 20);
}

struct SendingSide : Fixture {
  SendSide side{host, options, arena, kOwn, transport, probe};

  void Send(std::uint32_t blocks) {
    REQUIRE(side.Send({.key = Key(1),
                       .receiver = kPeer,
                       .receiver_incarnation = kTheirs,
                       .prompt_tokens = blocks * 16,
                       .blocks = Blocks(0, blocks)},
                      {.on_granted = [] {}, .on_ended = [](auto&&...) {}}) == absl::OkStatus());
  }
  void GrantIt(std::uint32_t blocks, std::uint64_t credit) {
    peer::Grant wire;
    ToWire(Grant{.key = Key(1),
                 .transfer = {.high = 1, .low = 2},
                 .receiver = kTheirs,
                 .sender = kOwn,
                 .prompt_tokens = blocks * 16,
                 .blocks = Blocks(0, blocks),
                 .lease = std::chrono::seconds(1),
                 .credit_bytes = credit},
           wire);
    side.OnGrant(kPeer, wire);
  }
  void Credit(std::uint64_t bytes) {
    peer::Credit credit;
    ToWire(TransferId{.high = 1, .low = 2}, *credit.mutable_transfer());
    credit.set_bytes(bytes);
    side.OnCredit(kPeer, credit);
  }
  std::uint64_t SentBytes() const {
    std::uint64_t bytes = 0;
    for (const DataMessage& message : transport.sent) {
      for (const auto& piece : message.pieces) bytes += piece.size();
    }
    return bytes;
  }
};

TEST_CASE("a sender keeps to its credit, and commits when the last of it has gone") {
  SendingSide s;
  s.Send(Fixture::kBlocks);
  s.GrantIt(Fixture::kBlocks, 8U << 20);
  s.side.ProducerStarted(Key(1));
  for (int layer = 0; layer < 2; ++layer) s.side.LayerReady(Key(1), layer, 0, Fixture::kBlocks * 16);
  s.side.Commit(Key(1), {.first_token = 1, .prompt_tokens = Fixture::kBlocks * 16});
  CHECK(s.SentBytes() == 8U << 20);
  CHECK(s.host.sent.empty());

  s.Credit(12U << 20);
  CHECK(s.SentBytes() == 12U << 20);
  s.Credit(4U << 20);  // an old one, late
  CHECK(s.SentBytes() == 12U << 20);
  s.Credit(32U << 20);

  CHECK(s.SentBytes() == 32U << 20);
  REQUIRE(s.host.sent.size() == 1);
  CHECK(s.host.sent[0].commit().bytes() == 32U << 20);
  CHECK(s.host.sent[0].commit().messages() == s.transport.sent.size());
}

TEST_CASE("a grant without credit is refused") {
  SendingSide s;
  s.Send(4);

  s.GrantIt(4, 0);

  REQUIRE(s.host.sent.size() == 1);
  CHECK(s.host.sent[0].abort().reason() == "a grant without credit");
}

TEST_CASE("a send that does not drain closes its own link, and not the one that was made since") {
  const bool made_anew = GENERATE(false, true);
  CAPTURE(made_anew);
  SendingSide s;
  s.Send(4);
  s.GrantIt(4, 8U << 20);
  s.side.ProducerStarted(Key(1));
  for (int layer = 0; layer < 2; ++layer) s.side.LayerReady(Key(1), layer, 0, 64);
  s.side.Commit(Key(1), {.first_token = 1, .prompt_tokens = 64});
  REQUIRE_FALSE(s.transport.sent.empty());

  s.side.OnPeerLost(kPeer, Error(kUnavailable, "lost"));
  if (made_anew) s.host.link = PeerHandle(2);
  s.host.clock.Advance(s.options.drain_deadline);
  s.side.Tick();

  CHECK(s.host.resets == (made_anew ? 0 : 1));
  CHECK(s.side.Live() == 1);  // its blocks stay pinned
}

TEST_CASE("a receive that does not drain closes its own link, and not the one that was made since") {
  const bool made_anew = GENERATE(false, true);
  CAPTURE(made_anew);
  Receiving r;
  static_cast<void>(r.Receive(4));

  r.side.OnPeerLost(kPeer, Error(kUnavailable, "lost"));
  if (made_anew) r.host.link = PeerHandle(2);
  r.host.clock.Advance(r.options.drain_deadline);
  r.side.Tick();

  CHECK(r.host.resets == (made_anew ? 0 : 1));
  CHECK(r.side.Live() == 1);  // its blocks stay in quarantine
}

}  // namespace
}  // namespace baton::kvtransfer
