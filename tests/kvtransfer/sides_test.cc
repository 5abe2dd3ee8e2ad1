#include <catch2/catch.hpp>

#include <deque>

#include "common/base/error.h"
#include "common/metrics/registry.h"
#include "kvtransfer/clock_id.h"
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
  double Speed(WorkerId) const override { return speed; }
  void Measured(WorkerId, double bytes_per_second) override { speeds.push_back(bytes_per_second); }
  void RunPosted() {
    for (; !posted.empty(); posted.pop_front()) posted.front()();
  }

  ManualClock clock;
  std::deque<std::function<void()>> posted;
  std::vector<peer::Envelope> sent;
  std::uint64_t last = 0;
  int resets = 0;
  std::vector<double> speeds;  // that were measured
  double speed = 1e9;
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
  HandoffOptions options{.layer_wise_bytes_min = 0};  // fitted
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

  TransferId Receive(std::uint32_t blocks, std::int64_t least_tokens = 0) {
    REQUIRE(
        side.Receive({.key = Key(1),
                      .sender = kPeer,
                      .sender_incarnation = kTheirs,
                      .prompt_tokens = blocks * 16,
                      .blocks = Blocks(0, blocks),
                      .least_tokens = least_tokens},
                     {.on_committed = [this](const CommitInfo& info) { committed = info; },
                      .on_failed = [this](TransferEnd, const absl::Status& why) { failed = Message(why); },
                      .on_released = [this] { released = true; }}) == absl::OkStatus());
    return transport.opened.back();
  }
  void Place(TransferId transfer, std::uint16_t layer, std::uint32_t first, std::uint32_t count,
             TimePoint landed = {}) {
    side.OnPlaced({.transfer = transfer,
                   .sequence = 0,
                   .bytes = count * arena.layout.BlockBytes(),
                   .runs = {{.layer = layer, .blocks = {.first = BlockIndex(first), .count = count}}},
                   .status = {},
                   .landed = landed});
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

TEST_CASE("a receiver on the sender's host learns when the KV was computed, another when COMMIT came") {
  const bool one_host = GENERATE(true, false);
  CAPTURE(one_host);
  Receiving r;
  r.host.clock.Advance(std::chrono::seconds(10));
  const TimePoint computed = r.host.clock.Now() - std::chrono::seconds(1);
  const TransferId transfer = r.Receive(4);
  r.Place(transfer, 0, 0, 4, computed - std::chrono::seconds(1));
  const bool late = GENERATE(true, false);
  CAPTURE(late);
  const TimePoint landed = late ? r.host.clock.Now() + std::chrono::seconds(1) : computed;
  r.Place(transfer, 1, 0, 4, landed);

  peer::Commit commit = Receiving::CommitOf(transfer, 4, 8 * r.arena.layout.BlockBytes(), 2);
  commit.set_clock(one_host ? ClockId() : ClockId() + 1);
  commit.set_computed_ns(computed.time_since_epoch().count());
  r.side.OnCommit(kPeer, commit);
  r.host.RunPosted();

  REQUIRE(r.committed.has_value());
  CHECK(r.committed->computed_at == (one_host ? std::optional(computed) : std::nullopt));
  CHECK(r.committed->arrived_at == (late ? landed : one_host ? computed : r.host.clock.Now()));
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
  TransferStats stats;

  void Send(std::uint32_t blocks) {
    REQUIRE(side.Send({.key = Key(1),
                       .receiver = kPeer,
                       .receiver_incarnation = kTheirs,
                       .prompt_tokens = blocks * 16,
                       .blocks = Blocks(0, blocks)},
                      {.on_granted = [] {},
                       .on_ended = [this](TransferEnd, const absl::Status&,
                                          const TransferStats& s) { stats = s; }}) == absl::OkStatus());
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
  void Confirm(std::uint64_t messages) {
    peer::Credit credit;
    ToWire(TransferId{.high = 1, .low = 2}, *credit.mutable_transfer());
    credit.set_messages(messages);
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

TEST_CASE("the wire's time is that of the messages: before the last step's end, and of that the rest after") {
  SendingSide s;
  const TimePoint start = s.host.clock.Now() + std::chrono::seconds(1);
  const auto at = [&](int milliseconds) { return start + std::chrono::milliseconds(milliseconds); };
  s.Send(16);
  s.GrantIt(16, 8U << 20);
  s.side.ProducerStarted(Key(1));
  s.side.LayerReady(Key(1), 0, 0, 256);  // 512 KiB: goes while it is computed
  s.host.clock.Advance(std::chrono::milliseconds(1));
  s.side.LayerReady(Key(1), 1, 0, 256);
  REQUIRE(s.transport.sent.size() == 2);
  s.host.clock.Advance(std::chrono::seconds(2));

  s.side.Commit(Key(1), {.first_token = 1, .prompt_tokens = 256, .computed_at = at(10)});
  CHECK(s.side.OnSent({.send = SendHandle(1), .status = {}, .begun = at(0), .ended = at(4)}));
  CHECK(s.side.OnSent({.send = SendHandle(2), .status = {}, .begun = at(8), .ended = at(12)}));
  s.side.OnAck(kPeer, {.high = 1, .low = 2});
  s.host.RunPosted();

  CHECK(s.stats.layer_wise);
  CHECK(s.stats.wire == std::chrono::milliseconds(8));
  CHECK(s.stats.exposed == std::chrono::milliseconds(2));
  CHECK(s.stats.begin == Duration::zero());
  CHECK(s.stats.whole == s.host.clock.Now() - at(10));
  // 1 MiB in the 8 ms that they took, and not in the seconds since the first was sent.
  REQUIRE(s.host.speeds.size() == 1);
  CHECK(s.host.speeds[0] == Approx((1 << 20) / 0.008));
}

TEST_CASE("a layer is sent early where the peer's speed and the time of a layer make it worth a message") {
  SendingSide s;  // 32 KiB a block and layer; 1 GB/s
  const auto [blocks, layer_us, early] =
      GENERATE(table<std::uint32_t, int, std::size_t>({{16, 1000, 1}, {2, 1000, 0}, {16, 10, 0}}));
  CAPTURE(blocks, layer_us);
  s.Send(blocks);
  s.GrantIt(blocks, 8U << 20);
  s.side.ProducerStarted(Key(1));

  s.side.LayerReady(Key(1), 0, 0, blocks * 16);
  CHECK(s.transport.sent.empty());  // how long a layer takes is not known yet
  s.host.clock.Advance(std::chrono::microseconds(layer_us));
  s.side.LayerReady(Key(1), 1, 0, blocks * 16);

  CHECK(s.transport.sent.size() == 2 * early);
}

TEST_CASE("a round is over when the receiver has all of it, and not when the sends have ended") {
  SendingSide s;
  int rounds = 0;
  REQUIRE(s.side.Send({.key = Key(1),
                       .receiver = kPeer,
                       .receiver_incarnation = kTheirs,
                       .prompt_tokens = 4 * 16,
                       .blocks = Blocks(0, 2),
                       .grows = true},
                      {.on_granted = [] {}, .on_idle = [&] { ++rounds; }, .on_ended = [](auto&&...) {}}) ==
          absl::OkStatus());
  s.GrantIt(4, 8U << 20);
  s.side.PositionsReady(Key(1), 0, 32, {});
  REQUIRE(s.transport.sent.size() == 1);

  CHECK(s.side.OnSent({.send = SendHandle(1), .status = {}}));
  s.host.RunPosted();
  CHECK(rounds == 0);
  s.Confirm(1);
  s.Confirm(1);  // repeated

  s.host.RunPosted();
  CHECK(rounds == 1);
}

TEST_CASE("a receiver confirms each message of an answer that is still written, and none of a prompt") {
  const bool written = GENERATE(true, false);
  CAPTURE(written);
  Receiving r;
  const TransferId transfer = r.Receive(4, written ? 20 : 0);

  r.Place(transfer, 0, 0, 4);
  r.Place(transfer, 0, 0, 4);  // the same once more

  std::uint64_t confirmed = 0;
  for (const peer::Envelope& sent : r.host.sent) confirmed = std::max(confirmed, sent.credit().messages());
  CHECK(confirmed == (written ? 1 : 0));
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
